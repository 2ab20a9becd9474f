//! Guards against cut-overs.

use std::{sync::atomic::AtomicBool, thread, time::Duration};

use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;

fn gate() -> Gate {
    Gate::open(ShardId::numbered(0), Epoch(1))
}

fn draining(epoch: u64) -> State {
    State {
        epoch: Epoch(epoch),
        phase: Phase::Draining,
    }
}

#[test]
fn a_state_keeps_its_epoch_and_phase() {
    for phase in [Phase::Shut, Phase::Open, Phase::Draining] {
        for epoch in [0, 1, 7, (1 << 62) - 1] {
            let state = State {
                epoch: Epoch(epoch),
                phase,
            };
            assert_eq!(State::unpack(state.pack()), state);
        }
    }
}

#[test]
fn a_drain_waits_for_those_inside_and_lets_nobody_in() {
    let gate = gate();
    let first = gate.enter().expect("open");
    let second = first.clone();
    gate.set(draining(1));
    assert_eq!(gate.enter().err(), Some(draining(1)));
    drop(first);
    assert!(gate.drained().now_or_never().is_none(), "a clone is inside");
    drop(second);
    assert!(gate.drained().now_or_never().is_some());
    assert!(!gate.is_occupied());
}

#[tokio::test]
async fn whoever_leaves_last_wakes_the_drain() {
    let gate = Arc::new(gate());
    let guards: Vec<_> = (0..10).map(|_| gate.enter().expect("open")).collect();
    gate.set(draining(1));
    let waiting = tokio::spawn({
        let gate = Arc::clone(&gate);
        async move { gate.drained().await }
    });
    for guard in guards {
        thread::spawn(move || drop(guard));
    }
    waiting.await.expect("no panic");
}

/// Threads that enter and leave while epochs end one after another: a guard of an epoch that has been drained is never alive.
fn race(threads: usize, cut_overs: u64, work: u32) {
    let gate = gate();
    let drained = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let admitted = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    let Ok(guard) = gate.enter() else {
                        thread::yield_now();
                        continue;
                    };
                    admitted.fetch_add(1, SeqCst);
                    for _ in 0..work {
                        std::hint::spin_loop();
                        let ended = drained.load(SeqCst);
                        assert!(
                            ended < guard.epoch().0,
                            "{} ended at e{ended}",
                            guard.epoch()
                        );
                    }
                    let clone = guard.clone();
                    drop(guard);
                    let ended = drained.load(SeqCst);
                    assert!(
                        ended < clone.epoch().0,
                        "{} ended at e{ended}",
                        clone.epoch()
                    );
                }
            });
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        for epoch in 1..=cut_overs {
            gate.set(draining(epoch));
            runtime.block_on(async {
                let limit = tokio::time::timeout(Duration::from_secs(60), gate.drained());
                limit.await.expect("a drain ends when nobody stays");
            });
            drained.store(epoch, SeqCst);
            gate.set(State {
                epoch: Epoch(epoch + 1),
                phase: Phase::Open,
            });
            // Each epoch sees some work.
            let before = admitted.load(SeqCst);
            while admitted.load(SeqCst) < before + 10 {
                thread::yield_now();
            }
        }
        stop.store(true, SeqCst);
    });
    gate.set(draining(cut_overs + 1));
    assert!(
        gate.drained().now_or_never().is_some(),
        "everybody has left"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn no_guard_of_an_epoch_outlives_its_drain(
        threads in 1_usize..6,
        cut_overs in 1_u64..60,
        work in 0_u32..200,
    ) {
        race(threads, cut_overs, work);
    }
}
