//! Tables of what is heard and what follows from it.

use proptest::prelude::*;

use super::*;

const CHECK_MS: u64 = 50;
const TIMEOUT_MS: u64 = 150;

fn detector() -> Detector {
    Detector::new(&Config {
        check_interval: Duration::from_millis(CHECK_MS),
        heartbeat_timeout: Duration::from_millis(TIMEOUT_MS),
        ..Config::default()
    })
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a valid name")
}

fn at(detector: &mut Detector, ms: u64, observation: Observation) -> Vec<String> {
    let mut verdicts = Vec::new();
    detector.handle(
        Timestamp(Duration::from_millis(ms)),
        observation,
        &mut verdicts,
    );
    let text = |verdict: &Verdict| match verdict {
        Verdict::Up { node, incarnation } => format!("{node} {incarnation} up"),
        Verdict::Suspect { node } => format!("{node} suspect"),
        Verdict::Down { node, incarnation } => format!("{node} {incarnation} down"),
    };
    verdicts.iter().map(text).collect()
}

fn hear(detector: &mut Detector, ms: u64, name: &str, incarnation: u64) -> Vec<String> {
    let observation = Observation::Heard {
        node: node(name),
        incarnation: Incarnation(incarnation),
    };
    at(detector, ms, observation)
}

/// Ticks each interval after `from`, up to `to`, and returns what was said when.
fn wait(detector: &mut Detector, from: u64, to: u64) -> Vec<(u64, String)> {
    let mut said = Vec::new();
    for ms in (from + CHECK_MS..=to).step_by(usize::try_from(CHECK_MS).expect("small")) {
        let verdicts = at(detector, ms, Observation::Tick);
        said.extend(verdicts.into_iter().map(|verdict| (ms, verdict)));
    }
    said
}

#[test]
fn a_silent_node_is_suspected_and_then_down_at_the_time_out() {
    let mut detector = detector();
    assert_eq!(hear(&mut detector, 0, "n1", 1), ["n1 i1 up"]);
    let said = wait(&mut detector, 0, 400);
    assert_eq!(
        said,
        [
            (100, "n1 suspect".to_owned()),
            (150, "n1 i1 down".to_owned())
        ]
    );
    assert!(detector.is_down(&node("n1")) && !detector.is_up(&node("n1")));
    assert_eq!(hear(&mut detector, 410, "n1", 1), ["n1 i1 up"]);
}

#[test]
fn a_node_that_is_heard_stays_up_and_a_suspicion_passes() {
    let mut detector = detector();
    hear(&mut detector, 0, "n1", 1);
    assert_eq!(
        wait(&mut detector, 0, 100),
        [(100, "n1 suspect".to_owned())]
    );
    assert!(hear(&mut detector, 120, "n1", 1).is_empty());
    assert_eq!(wait(&mut detector, 120, 170), []);
    assert!(detector.is_up(&node("n1")));
}

#[test]
fn a_pause_of_the_observer_kills_nobody() {
    let mut detector = detector();
    for name in ["n1", "n2"] {
        hear(&mut detector, 0, name, 1);
    }
    wait(&mut detector, 0, 50);
    assert!(at(&mut detector, 60_000, Observation::Tick).is_empty());
    assert!(hear(&mut detector, 60_001, "n1", 1).is_empty());
    // Who stays silent while the observer is awake goes down.
    let said = wait(&mut detector, 60_001, 60_101);
    assert!(
        said.contains(&(60_101, "n2 i1 down".to_owned())),
        "{said:?}"
    );
    assert!(detector.is_up(&node("n1")));
}

#[test]
fn another_process_replaces_the_one_before_and_an_older_one_is_not_heard() {
    let mut detector = detector();
    hear(&mut detector, 0, "n1", 2);
    assert_eq!(hear(&mut detector, 10, "n1", 3), ["n1 i2 down", "n1 i3 up"]);
    for ms in (20..=140).step_by(20) {
        assert!(hear(&mut detector, ms, "n1", 2).is_empty());
    }
    assert_eq!(at(&mut detector, 150, Observation::Tick), ["n1 suspect"]);
}

#[test]
fn a_node_that_leaves_is_down_at_once_and_one_that_is_removed_is_forgotten() {
    let mut detector = detector();
    hear(&mut detector, 0, "n1", 1);
    let left = Observation::Left { node: node("n1") };
    assert_eq!(at(&mut detector, 10, left.clone()), ["n1 i1 down"]);
    assert!(at(&mut detector, 20, left).is_empty());
    assert_eq!(hear(&mut detector, 30, "n1", 2), ["n1 i2 up"]);
    at(&mut detector, 40, Observation::Removed { node: node("n1") });
    assert_eq!(wait(&mut detector, 40, 1_000), []);
    assert_eq!(detector.nodes().count(), 0);
}

#[test]
fn a_node_that_flaps_must_be_heard_for_longer_each_time() {
    let mut detector = detector();
    let mut ms = 0;
    let mut proofs = Vec::new();
    hear(&mut detector, ms, "n1", 1);
    for _ in 0..6 {
        let said = wait(&mut detector, ms, ms + 200);
        assert!(
            said.iter().any(|(_, verdict)| verdict == "n1 i1 down"),
            "{said:?}"
        );
        ms += 200;
        let heard_from = ms;
        while hear(&mut detector, ms, "n1", 1).is_empty() {
            ms += CHECK_MS;
        }
        proofs.push(ms - heard_from);
    }
    assert_eq!(
        proofs,
        [0, 50, 100, 200, 400, 600],
        "at most four time-outs"
    );
}

#[test]
fn a_long_time_without_a_fall_clears_the_slate() {
    let mut detector = detector();
    let mut ms = 0;
    hear(&mut detector, ms, "n1", 1);
    for _ in 0..3 {
        wait(&mut detector, ms, ms + 200);
        ms += 200;
        while hear(&mut detector, ms, "n1", 1).is_empty() {
            ms += CHECK_MS;
        }
    }
    for _ in 0..40 {
        ms += CHECK_MS;
        hear(&mut detector, ms, "n1", 1);
    }
    wait(&mut detector, ms, ms + 200);
    assert_eq!(hear(&mut detector, ms + 201, "n1", 1), ["n1 i1 up"]);
}

proptest! {
    #[test]
    fn nobody_is_taken_for_dead_before_the_time_out(
        steps in prop::collection::vec((0_u64..400, 0_usize..4), 1..200)
    ) {
        let mut detector = detector();
        let names = ["n1", "n2", "n3"];
        let mut heard = BTreeMap::new();
        let (mut ms, mut verdicts) = (0, Vec::new());
        for (wait_ms, what) in steps {
            ms += wait_ms;
            let now = Timestamp(Duration::from_millis(ms));
            let observation = match names.get(what) {
                Some(name) => {
                    heard.insert(node(name), ms);
                    Observation::Heard { node: node(name), incarnation: Incarnation(1) }
                }
                None => Observation::Tick,
            };
            detector.handle(now, observation, &mut verdicts);
            for verdict in verdicts.drain(..) {
                if let Verdict::Down { node, .. } = verdict {
                    prop_assert!(heard[&node] + TIMEOUT_MS <= ms, "{node} at {ms}");
                }
            }
        }
    }
}
