//! What must hold, and the crashes of those who take part in an operation while it is in some phase.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::ControlFlow,
};

use shardwright_registry::decode;
use shardwright_store::Digest;
use shardwright_testkit::sim::{Change, Pid, Sim};
use shardwright_topology::{
    Decision, Operation, OperationId, OperationKind, Phase, ShardId, ShardRecord, ShardState,
};

use super::{
    COORDINATORS, Missing, NODES, Reshape, TIMEOUT, Token, operations,
    situations::{self, Party},
    tasks::Text,
};

/// The values of each key, in their order.
type Lists = BTreeMap<i64, Vec<i64>>;

impl Reshape {
    /// Looks at a change of the registry.
    pub(super) fn changed(&mut self, sim: &Sim<Self>, change: &Change<Text>) -> Result<(), String> {
        if self.operations.holds(&change.key) {
            self.operation_changed(change)?;
        } else if !self.shards.holds(&change.key) {
            return Ok(());
        }
        let map = self.map(sim);
        map.map(drop)
            .map_err(|why| format!("not every key has one owner: {why}"))
    }

    fn operation_changed(&mut self, change: &Change<Text>) -> Result<(), String> {
        let Some(value) = &change.value else {
            self.is_forgotten = true;
            return Ok(());
        };
        let operation: Operation = decode(&value.0).map_err(|error| error.to_string())?;
        let before = self.phases.insert(operation.id.clone(), operation.phase);
        let is_taken_back = before.is_some_and(|before| {
            before.decision() != Decision::Open && before.decision() != operation.phase.decision()
        });
        if is_taken_back {
            return Err(format!(
                "{} is {before:?}, and then {}",
                operation.id, operation.phase
            ));
        }
        if before != Some(operation.phase) {
            self.entered.push((operation.id, operation.phase));
        }
        Ok(())
    }

    /// Lets those crash who take part in an operation that has entered a phase.
    pub(super) fn strikes(&mut self, sim: &mut Sim<Self>) {
        if std::mem::take(&mut self.is_forgotten) {
            sim.mark(situations::FORGOTTEN);
        }
        for (id, phase) in std::mem::take(&mut self.entered) {
            sim.trace(|| format!("{id} is {phase}"));
            let found = operations(sim, self).into_iter().find(|it| it.id == id);
            let Some(operation) = found else {
                continue;
            };
            self.note(sim, &operation);
            if self.missing == Some(Missing::CommitBeforeRetire) && phase == Phase::Sealing {
                for (at, shard) in (0..NODES)
                    .map(Pid)
                    .flat_map(|at| operation.sources.iter().map(move |it| (at, it)))
                {
                    self.stop_copy(sim, at, shard);
                    self.erase_copy(sim, at, shard);
                }
            }
            if sim.is_faulty() && sim.dice().chance(14) {
                // Some phases are over soon.
                let longest = *sim.dice().pick(&[TIMEOUT / 200, TIMEOUT / 4]);
                let late = sim.dice().time(&(Default::default()..=longest));
                let party = sim.dice().index(Party::ALL.len());
                sim.plan(late, Token::Strike(id, party));
            } else if sim.is_faulty() && phase == Phase::Sealing && sim.dice().chance(10) {
                // The worst moment.
                self.cancel(sim);
            }
        }
    }

    fn note(&mut self, sim: &mut Sim<Self>, operation: &Operation) {
        match (operation.phase, operation.kind) {
            (Phase::Committed, OperationKind::Split) => sim.mark(situations::SPLIT),
            (Phase::Committed, _) => sim.mark(situations::MERGED),
            (Phase::Aborted, _) => sim.mark(situations::ABORTED),
            (Phase::Aborting, _)
                if operation
                    .error
                    .as_ref()
                    .is_some_and(|why| why.contains("sealed")) =>
            {
                sim.mark(situations::ABORTED_SEALED);
            }
            _ => {}
        }
        if operation.phase == Phase::Committed {
            self.last_committed = self.works.get(&operation.id).cloned();
        }
    }

    /// Somebody who takes part in an operation crashes.
    pub(super) fn strike(&mut self, sim: &mut Sim<Self>, id: &OperationId, party: Party) {
        let Some(operation) = operations(sim, self).into_iter().find(|it| it.id == *id) else {
            return;
        };
        let primary = |shards: &[ShardId]| shards.iter().find_map(|shard| self.leader(shard));
        let at = match party {
            Party::Source => primary(&operation.sources),
            Party::Target => primary(&operation.targets),
            Party::Coordinator => {
                let all = (NODES..NODES + COORDINATORS).map(Pid);
                let mut running =
                    all.filter(|at| self.coordinators.get(at).is_some_and(|it| it.runs(id)));
                running.next()
            }
        };
        let Some(at) = at.filter(|at| sim.is_faulty() && sim.is_up(*at)) else {
            return;
        };
        if let Some(mark) = situations::crash(party, operation.phase) {
            sim.mark(mark);
        }
        sim.trace(|| format!("{at} crashes, {id} is {}", operation.phase));
        self.kill(sim, at);
    }

    /// Looks at the end: all is decided, served and equal, and nothing else is there.
    pub(super) fn has_recovered(&mut self, sim: &Sim<Self>) -> Result<(), String> {
        for operation in operations(sim, self) {
            if !operation.phase.is_final() {
                return Err(format!("{} is still {}", operation.id, operation.phase));
            }
        }
        let operations = operations(sim, self).into_iter();
        let known: BTreeSet<OperationId> = operations.map(|operation| operation.id).collect();
        for stored in sim.store().entries() {
            let id = stored.key.last_name();
            if self.journaled.holds(&stored.key) && !known.iter().any(|it| it.as_str() == id) {
                return Err(format!("it is still written down what {id} was to do"));
            }
        }
        let map = self.map(sim)?;
        let mut lists = Lists::new();
        for record in self.records(sim) {
            if let Some(hold) = &record.hold {
                return Err(format!("{} is still held by {}", record.id, hold.operation));
            }
            match record.state {
                ShardState::Serving => {
                    let map_range = map.shard(&record.id).map(|shard| shard.range());
                    if map_range.is_none() || map_range != record.range {
                        return Err(format!("{} serves and owns nothing", record.id));
                    }
                    self.serves(&record, &mut lists)?;
                }
                ShardState::Retired => {}
                ShardState::Importing | ShardState::Sealed => {
                    return Err(format!("{} is left {:?}", record.id, record.state));
                }
            }
        }
        self.nothing_is_left(sim)?;
        self.judge(&lists)
    }

    /// A shard has one primary, whose members hold and have applied the same; adds its values to the lists.
    fn serves(&mut self, record: &ShardRecord, lists: &mut Lists) -> Result<(), String> {
        let shard = &record.id;
        let active = record
            .active
            .as_ref()
            .ok_or(format!("{shard} never had a primary"))?;
        let at = Self::pid(&active.primary.node).ok_or("no node")?;
        let machine = self.copy(at, shard).and_then(|copy| copy.machine.as_ref());
        let machine = machine.ok_or_else(|| format!("{at} has no copy of {shard}"))?;
        if machine.leads() != Some(active) {
            return Err(format!("{at} does not lead {active:?} of {shard}"));
        }
        let last = machine.replica().log().last();
        let mut digests = BTreeSet::new();
        for member in &active.members {
            let at = Self::pid(&member.node).ok_or("no node")?;
            let copy = self
                .copy(at, shard)
                .ok_or_else(|| format!("{at} has no copy of {shard}"))?;
            if copy.applied != last {
                let applied = copy.applied;
                return Err(format!(
                    "{at} has applied {applied:?} of {shard}, not {last:?}"
                ));
            }
            digests.insert(digest(copy.data.digest()?));
        }
        if active.members.len() < NODES || digests.len() > 1 {
            return Err(format!(
                "the members of {shard} differ, or are few: {active:?}"
            ));
        }
        self.collect(at, record, lists)
    }

    /// Adds the values of a shard, which has only those of its range.
    fn collect(&mut self, at: Pid, record: &ShardRecord, lists: &mut Lists) -> Result<(), String> {
        let shard = &record.id;
        let copy = self.copy(at, shard).ok_or("no copy")?;
        let snapshot = copy
            .data
            .data()?
            .file()
            .snapshot()
            .map_err(|error| error.to_string())?;
        let mut rows = Vec::new();
        let all = snapshot.query("SELECT k, n, value FROM entries ORDER BY k, n", (), |row| {
            rows.extend(row.get(0).as_i64().zip(row.get(2).as_i64()));
            ControlFlow::<()>::Continue(())
        });
        let _all = all.map_err(|error| error.to_string())?;
        let whole = snapshot
            .row_count("whole")
            .map_err(|error| error.to_string())?;
        drop(snapshot);
        if whole != 1 {
            return Err(format!("{shard} has {whole} rows of what every shard has"));
        }
        for (key, value) in rows {
            let position = self.position(key);
            if !record.range.is_some_and(|range| range.contains(position)) {
                return Err(format!(
                    "{shard} has {value} of key {key}, which belongs to another shard"
                ));
            }
            lists.entry(key).or_default().push(value);
        }
        Ok(())
    }

    /// No node has anything of a shard that serves nothing, nor a part of one.
    fn nothing_is_left(&self, sim: &Sim<Self>) -> Result<(), String> {
        let records = self.records(sim).into_iter();
        let serving = records.filter(|record| record.state == ShardState::Serving);
        let serving: BTreeSet<ShardId> = serving.map(|record| record.id).collect();
        for (at, node) in &self.nodes {
            for entry in fs::read_dir(&node.home).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if !name
                    .parse()
                    .is_ok_and(|shard: ShardId| serving.contains(&shard))
                {
                    return Err(format!("{at} still has {name}"));
                }
                let inside = fs::read_dir(entry.path()).into_iter().flatten().flatten();
                for file in inside {
                    let file = file.file_name().to_string_lossy().into_owned();
                    if file != "copy" {
                        return Err(format!("{at} still has {file} in {name}"));
                    }
                }
            }
        }
        Ok(())
    }
}

fn digest((rows, outcomes): (Digest, Digest)) -> ([u8; 32], [u8; 32]) {
    (*rows.as_bytes(), *outcomes.as_bytes())
}
