//! What clients asked and were told, and whether one copy that does one thing at a time could have told them so.

use std::collections::{BTreeMap, BTreeSet};

use shardwright_testkit::history::{
    Append, AppendOutcome, Model, Operation, Read, Verdict, judge_appends, linearize,
};
use shardwright_topology::Timestamp;

use super::statements::{Answer, Contents, Deed, REGISTERS};

/// How many steps the search for an order may take, for each register.
const STEPS_MAX: u64 = 20_000;

/// A write, however often it is tried.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) deed: Deed,
    pub(super) client: usize,
    pub(super) sequence: u64,
    /// When it was tried first.
    pub(super) called: Timestamp,
    /// How many tries nobody has answered yet.
    pub(super) open: usize,
    /// Whether it is unknown what became of a try.
    pub(super) is_unknown: bool,
    /// When it was acknowledged, and with what.
    pub(super) answer: Option<(Timestamp, Answer)>,
}

/// How fresh a read had to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Freshness {
    /// All that was acknowledged before.
    Latest,
    /// What its client had been told of.
    AtLeast(Vec<i64>),
    /// Whatever there is.
    Any,
}

/// A read that was answered.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) called: Timestamp,
    pub(super) answered: Timestamp,
    pub(super) freshness: Freshness,
    pub(super) contents: Contents,
}

/// A try to claim a register that was refused because that was there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    pub(super) register: i64,
    pub(super) called: Timestamp,
    pub(super) answered: Timestamp,
}

/// All that clients asked and were told.
#[derive(Debug, Default)]
pub(super) struct History {
    /// By the value that no other write has.
    pub(super) writes: BTreeMap<i64, Written>,
    reads: Vec<Shown>,
    /// The claims of registers that were refused because those were there.
    refusals: Vec<Refusal>,
    /// The first rule that was broken.
    pub(super) broken: Option<String>,
}

impl History {
    pub(super) fn breaks(&mut self, rule: impl FnOnce() -> String) {
        self.broken.get_or_insert_with(rule);
    }

    /// Notes an acknowledgement: each try is answered alike.
    pub(super) fn acknowledged(&mut self, value: i64, now: Timestamp, outcome: &[u8]) {
        let Some(answer) = Answer::decode(outcome) else {
            return self.breaks(|| format!("{value} is answered with {outcome:?}"));
        };
        let Some(write) = self.writes.get_mut(&value) else {
            return self.breaks(|| format!("{value} is answered, and nobody wrote it"));
        };
        match write.answer {
            None => write.answer = Some((now, answer)),
            Some((_, before)) if before == answer => {}
            Some((_, before)) => {
                self.breaks(|| format!("{value} is answered {before:?}, and then {answer:?}"));
            }
        }
    }

    pub(super) fn shown(&mut self, shown: Shown) {
        self.reads.push(shown);
    }

    pub(super) fn refused(&mut self, refusal: Refusal) {
        self.refusals.push(refusal);
    }

    /// Returns what a client has been told of.
    pub(super) fn told(&self, client: usize) -> Vec<i64> {
        let told = self.writes.iter();
        let told = told.filter(|(_, write)| write.client == client && write.answer.is_some());
        told.map(|(value, _)| *value).collect()
    }

    /// Returns what may have happened and is to be tried again.
    pub(super) fn unknown(&self) -> Vec<i64> {
        let unknown = self.writes.iter();
        let unknown = unknown.filter(|(_, write)| write.is_unknown && write.answer.is_none());
        unknown.map(|(value, _)| *value).collect()
    }

    /// Judges all of it, given what there is at the end.
    pub(super) fn judge(&self, end: &Contents) -> Result<(), String> {
        let appends: Vec<_> = self.writes.iter().map(append).collect();
        let latest = self.reads.iter();
        let latest = latest.filter(|read| read.freshness == Freshness::Latest);
        let reads: Vec<_> = latest.map(read).collect();
        let violations = judge_appends(&end.values(), &appends, &reads);
        if let Some(violation) = violations.first() {
            return Err(violation.to_string());
        }
        self.replay(end)?;
        (1..=REGISTERS).try_for_each(|register| self.linearizes(end, register))
    }

    /// Does again what was done, in its order, and compares what each write and each read found.
    fn replay(&self, end: &Contents) -> Result<(), String> {
        let mut states = vec![BTreeMap::new()];
        let mut registers: BTreeMap<i64, i64> = BTreeMap::new();
        for (place, (entry, value)) in end.entries.iter().enumerate() {
            let write = &self.writes[value];
            if usize::try_from(*entry) != Ok(place + 1) {
                return Err(format!("the entry of {value} has the number {entry}"));
            }
            let register = write.deed.register();
            let before = register.and_then(|register| registers.get(&register));
            let before = before.copied().unwrap_or_default();
            let answer = Answer {
                before,
                entry: *entry,
            };
            if let Some((_, told)) = write.answer
                && told != answer
            {
                return Err(format!("{value} was told {told:?}, and did {answer:?}"));
            }
            apply(&mut registers, write.deed, *value);
            states.push(registers.clone());
        }
        for shown in &self.reads {
            shown.is_state_of(end, &states)?;
        }
        for refusal in &self.refusals {
            if !self.may_be_refused(end, &states, refusal) {
                return Err(format!("{refusal:?} although it was not there"));
            }
        }
        is_whole(end, &states[end.entries.len()])
    }

    /// Whether a register was there at some moment of a try to claim it.
    fn may_be_refused(
        &self,
        end: &Contents,
        states: &[BTreeMap<i64, i64>],
        refusal: &Refusal,
    ) -> bool {
        let writes = || end.entries.iter().map(|(_, value)| &self.writes[value]);
        let is_before = |write: &Written| {
            let answer = write.answer;
            answer.is_some_and(|(at, _)| at < refusal.called)
        };
        let first = writes().rposition(is_before).map_or(0, |place| place + 1);
        let is_begun = |write: &Written| write.called <= refusal.answered;
        let last = writes().position(|write| !is_begun(write));
        let mut between = states[first..=last.unwrap_or(end.entries.len()).max(first)].iter();
        between.any(|registers| registers.contains_key(&refusal.register))
    }

    /// Looks for an order of what was done to one register.
    fn linearizes(&self, end: &Contents, register: i64) -> Result<(), String> {
        let happened: BTreeSet<i64> = end.values().into_iter().collect();
        let writes = self.writes.iter().filter(|(value, write)| {
            write.deed.register() == Some(register) && happened.contains(value)
        });
        let writes = writes.map(|(value, write)| {
            let call = Call::Write(write.deed, *value);
            match write.answer {
                Some((at, answer)) => Operation::answered(write.called, call, at, answer.before),
                None => Operation::unanswered(write.called, call),
            }
        });
        let latest = self.reads.iter();
        let latest = latest.filter(|read| read.freshness == Freshness::Latest);
        let reads = latest.map(|read| {
            let value = read.contents.registers.get(&register);
            let value = value.copied().unwrap_or_default();
            Operation::answered(read.called, Call::Read, read.answered, value)
        });
        let refusals = self.refusals.iter();
        let refusals = refusals.filter(|refusal| refusal.register == register);
        let refusals = refusals
            .map(|refusal| Operation::answered(refusal.called, Call::Claim, refusal.answered, 0));
        let history: Vec<_> = writes.chain(reads).chain(refusals).collect();
        match linearize(&Register, &history, STEPS_MAX) {
            // The order in which it happened is one that explains all, as was seen before: only the search for another one takes too long.
            Verdict::Linearizable { .. } | Verdict::Undecided => Ok(()),
            Verdict::NotLinearizable { stuck, .. } => Err(format!(
                "no order explains what register {register} answered: {:?}",
                history[stuck]
            )),
        }
    }
}

impl Shown {
    /// Looks whether it is how things were once.
    fn is_state_of(&self, end: &Contents, states: &[BTreeMap<i64, i64>]) -> Result<(), String> {
        let seen = &self.contents.entries;
        if !end.entries.starts_with(seen) {
            return Err(format!("a read shows {seen:?}, which was never so"));
        }
        is_whole(&self.contents, &states[seen.len()])?;
        let values: BTreeSet<i64> = self.contents.values().into_iter().collect();
        if let Freshness::AtLeast(told) = &self.freshness
            && let Some(missed) = told.iter().find(|value| !values.contains(*value))
        {
            return Err(format!("a client misses {missed}, which it has written"));
        }
        Ok(())
    }
}

/// Looks whether the other tables fit the entries.
fn is_whole(contents: &Contents, registers: &BTreeMap<i64, i64>) -> Result<(), String> {
    if contents.registers != *registers {
        let found = &contents.registers;
        return Err(format!("the registers are {found:?}, not {registers:?}"));
    }
    let count = contents.entries.len();
    if usize::try_from(contents.counted) != Ok(count) {
        return Err(format!(
            "{} of {count} entries were counted",
            contents.counted
        ));
    }
    Ok(())
}

fn append((value, write): (&i64, &Written)) -> Append<i64> {
    let outcome = match write.answer {
        Some((at, _)) => AppendOutcome::Acknowledged(at),
        None if write.is_unknown || write.open > 0 => AppendOutcome::Unknown,
        None => AppendOutcome::Refused,
    };
    Append {
        value: *value,
        called: write.called,
        outcome,
    }
}

fn read(shown: &Shown) -> Read<i64> {
    Read {
        called: shown.called,
        answered: shown.answered,
        seen: shown.contents.values(),
    }
}

fn apply(registers: &mut BTreeMap<i64, i64>, deed: Deed, value: i64) {
    match deed {
        Deed::Set(register) | Deed::Claim(register) => {
            registers.insert(register, value);
        }
        Deed::Exchange(register, old) => {
            if registers.get(&register).copied().unwrap_or_default() == old {
                registers.insert(register, value);
            }
        }
        Deed::Clear(register) => {
            registers.remove(&register);
        }
        Deed::Create | Deed::Index(_) | Deed::Violate(_) | Deed::End(_) => {}
    }
}

/// One register, which is answered with what it was.
struct Register;

enum Call {
    Read,
    /// Claims it, and is refused because it is there.
    Claim,
    Write(Deed, i64),
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read => f.write_str("read"),
            Self::Claim => f.write_str("a claim that is refused"),
            Self::Write(deed, value) => write!(f, "{deed:?} with {value}"),
        }
    }
}

impl Model for Register {
    type State = i64;
    type Call = Call;
    type Answer = i64;

    fn initial(&self) -> i64 {
        0
    }

    fn step(&self, state: &i64, call: &Call, answer: Option<&i64>) -> Option<i64> {
        let after = match call {
            Call::Claim => return (*state != 0).then_some(*state),
            Call::Read => *state,
            Call::Write(Deed::Set(_) | Deed::Claim(_), value) => *value,
            Call::Write(Deed::Exchange(_, old), value) if old == state => *value,
            Call::Write(Deed::Clear(_), _) => 0,
            Call::Write(..) => *state,
        };
        answer.is_none_or(|answer| answer == state).then_some(after)
    }
}
