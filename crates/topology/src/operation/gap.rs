//! The gaps between two writes of an operation: whoever carries it out may die in each of them.

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{OperationKind, Phase};

/// The moment after a write of an operation and before the next one.
///
/// It is named by the kind of the operation, the phase in which it is, and what was written if that was not the phase itself: `split/sealed`,
/// `merge/planned/held`. What is written several times, such as that shards are held, is one gap each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gap {
    /// What the operation does.
    pub kind: OperationKind,
    /// How far it is.
    pub phase: Phase,
    /// What was written last.
    pub written: Written,
}

/// What an operation has written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Written {
    /// What it is to do. It is in no phase yet.
    Work,
    /// The phase.
    Phase,
    /// A move that brings its shards together.
    Move,
    /// That a shard of its sources is held.
    Held,
    /// The record of one of its targets.
    Target,
    /// A change of the members of the shard that it moves.
    Members,
    /// The decision, into one of its shards.
    Resolved,
    /// That a shard is forgotten which owns nothing any more.
    Forgotten,
    /// That its record is removed. What it was to do is still there.
    Removed,
}

impl Written {
    /// Everything.
    pub const ALL: [Self; 9] = [
        Self::Work,
        Self::Phase,
        Self::Move,
        Self::Held,
        Self::Target,
        Self::Members,
        Self::Resolved,
        Self::Forgotten,
        Self::Removed,
    ];

    /// Returns how it is named after a phase; `None` of the phase itself.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Phase => None,
            Self::Work => Some("work"),
            Self::Move => Some("move"),
            Self::Held => Some("held"),
            Self::Target => Some("target"),
            Self::Members => Some("members"),
            Self::Resolved => Some("resolved"),
            Self::Forgotten => Some("forgotten"),
            Self::Removed => Some("removed"),
        }
    }
}

/// What is written in a phase, in this order, before the next one is.
fn writes(kind: OperationKind, phase: Phase) -> &'static [Written] {
    use OperationKind::{Merge, Migrate, Split};
    match (phase, kind) {
        (Phase::Planned, Split | Migrate) => &[
            Written::Work,
            Written::Phase,
            Written::Held,
            Written::Target,
        ],
        (Phase::Planned, Merge) => &[
            Written::Work,
            Written::Phase,
            Written::Move,
            Written::Held,
            Written::Target,
        ],
        (
            Phase::Created
            | Phase::Copying
            | Phase::CatchingUp
            | Phase::Verified
            | Phase::Sealing
            | Phase::Sealed
            | Phase::CleaningUp,
            _,
        ) => &[Written::Phase],
        (Phase::Committed, Migrate) => &[Written::Phase, Written::Members, Written::Resolved],
        (Phase::Committed, Split | Merge) | (Phase::Aborting, _) => {
            &[Written::Phase, Written::Resolved]
        }
        // It is let go of what was held late.
        (Phase::Done | Phase::Aborted, _) => &[
            Written::Phase,
            Written::Resolved,
            Written::Forgotten,
            Written::Removed,
        ],
    }
}

impl Gap {
    /// Returns every gap, kind by kind, in the order in which an operation comes to them.
    pub fn all() -> impl Iterator<Item = Self> {
        OperationKind::ALL.into_iter().flat_map(|kind| {
            Phase::ALL.into_iter().flat_map(move |phase| {
                let written = writes(kind, phase).iter();
                written.map(move |written| Self {
                    kind,
                    phase,
                    written: *written,
                })
            })
        })
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.phase)?;
        match self.written.name() {
            Some(written) => write!(f, "/{written}"),
            None => Ok(()),
        }
    }
}

/// There is no gap of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no gap {name}")]
pub struct UnknownGap {
    /// The name.
    pub name: String,
}

impl FromStr for Gap {
    type Err = UnknownGap;

    fn from_str(name: &str) -> Result<Self, UnknownGap> {
        let found = Self::all().find(|gap| gap.to_string() == name);
        found.ok_or_else(|| UnknownGap {
            name: name.to_owned(),
        })
    }
}

/// Who is told of each gap that is reached: a test that stops a process there. By default nobody.
pub struct Halts<G>(Option<Arc<dyn Fn(G) + Send + Sync>>);

impl<G> Halts<G> {
    /// Calls `halt` in each gap, on the thread that has made the write. What follows it waits for the call to return.
    pub fn new(halt: impl Fn(G) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(halt)))
    }

    /// Calls `halt` when a gap is reached for the `nth` time, counted from 1, and only then.
    pub fn at(gap: G, nth: u32, halt: impl Fn(G) + Send + Sync + 'static) -> Self
    where
        G: PartialEq + Send + Sync + 'static,
    {
        let reached = AtomicU32::new(0);
        Self::new(move |at| {
            if at == gap && reached.fetch_add(1, Ordering::Relaxed) + 1 == nth {
                halt(at);
            }
        })
    }

    /// Says that a gap is reached.
    pub fn reached(&self, gap: G) {
        if let Some(halt) = &self.0 {
            halt(gap);
        }
    }
}

impl<G> Default for Halts<G> {
    fn default() -> Self {
        Self(None)
    }
}

impl<G> Clone for Halts<G> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<G> fmt::Debug for Halts<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_told = self.0.is_some();
        f.debug_tuple("Halts").field(&is_told).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Mutex};

    use super::*;

    #[test]
    fn each_gap_is_found_by_its_name_and_no_other() {
        let names: BTreeSet<_> = Gap::all().map(|gap| gap.to_string()).collect();
        assert_eq!(names.len(), Gap::all().count());
        for gap in Gap::all() {
            assert_eq!(gap.to_string().parse(), Ok(gap));
        }
        assert!("split/sealed/held".parse::<Gap>().is_err());
    }

    #[test]
    fn every_phase_of_every_kind_has_a_gap_and_everything_written_one() {
        for kind in OperationKind::ALL {
            for phase in Phase::ALL {
                let has = |gap: &Gap| (gap.kind, gap.phase) == (kind, phase);
                assert!(Gap::all().any(|gap| has(&gap)), "{kind} {phase}");
            }
        }
        for written in Written::ALL {
            assert!(Gap::all().any(|gap| gap.written == written), "{written:?}");
        }
    }

    #[test]
    fn a_test_is_told_of_the_time_that_it_asked_for() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tells = Arc::clone(&told);
        let halts = Halts::at(2, 3, move |gap| tells.lock().unwrap().push(gap));
        for gap in [2, 1, 2, 1, 2, 2] {
            halts.reached(gap);
        }
        assert_eq!(*told.lock().unwrap(), [2]);
        Halts::default().reached(2);
    }
}
