//! Nodes, whose disks outlive them; and what must hold of all of them.

use std::collections::BTreeSet;

use shardwright_elastic::{Digest, DigestAt, Record, Reply, Request, StoreError, workflow::CallId};
use shardwright_registry::Key;
use shardwright_testkit::sim::{Pid, Sim};
use shardwright_topology::{Lsn, OperationId, OperationKind, Phase, ShardId};

use super::{COORDINATORS, Elastic, Message, Missing, after, node_pid, situations};

fn number_of(value: &[u8]) -> u64 {
    let text = str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

impl Elastic {
    /// A client's write arrives: an older number never replaces a newer one.
    pub(super) fn node_write(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        shard: &ShardId,
        key: Vec<u8>,
        number: u64,
    ) {
        self.is_changed = true;
        let now = sim.now(at);
        let Some(node) = self.nodes.get_mut(&at) else {
            return;
        };
        let Ok(found) = node
            .get(shard, &key)
            .map(|found| found.map_or(0, number_of))
        else {
            return;
        };
        if number <= found {
            return;
        }
        let value = number.to_string();
        let written = node.write(now, shard, &key, Some(value.as_bytes()));
        let is_sealed = matches!(written, Err(StoreError::Sealed { .. }));
        if written.is_ok() || (is_sealed && self.missing == Some(Missing::SealEndsWrites)) {
            let slot = self.accepted.entry(key).or_default();
            *slot = (*slot).max(number);
        }
    }

    /// A call of an operation arrives.
    pub(super) fn node_call(
        &mut self,
        sim: &mut Sim<Self>,
        at: Pid,
        operation: &OperationId,
        mut request: Request,
    ) -> Result<Reply, StoreError> {
        self.is_changed = true;
        let now = sim.now(at);
        let is_damaged = sim.is_faulty() && sim.dice().rarely(100);
        if let Request::Import { page, .. } = &mut request
            && is_damaged
            && page.rows.pop().is_some()
        {
            // The store loses a row that it says it has.
            sim.mark(situations::DAMAGED);
        }
        let again = request.clone();
        let node = self.nodes.get_mut(&at).expect("calls go to nodes");
        let outcome = node.handle(now, operation, request);
        match &outcome {
            Err(StoreError::Ended { .. }) => sim.mark(situations::ENDED),
            Err(StoreError::NotHeld { .. })
                if matches!(again, Request::Import { .. } | Request::Apply { .. }) =>
            {
                sim.mark(situations::LATE_COPY);
            }
            _ => {}
        }
        self.without_rule(sim, at, operation, again, outcome)
    }

    /// Removes what operations that are over have left on nodes that could not be reached, as managers do now and then.
    pub(super) fn collect(&self, sim: &mut Sim<Self>) {
        let collector = Pid(sim.dice().index(COORDINATORS));
        if !sim.is_up(collector) || sim.is_paused(collector) {
            return;
        }
        let over = Self::truth(sim).into_iter();
        let over = over.filter(|record| record.phase().is_final());
        let over: BTreeSet<OperationId> = over.map(|record| record.id().clone()).collect();
        for (at, node) in &self.nodes {
            let importing = node.importing().into_iter();
            for (shard, operation) in importing.filter(|(_, by)| over.contains(by)) {
                let call = Message::Call {
                    session: 0,
                    id: CallId(0),
                    operation,
                    request: Box::new(Request::Remove { shard }),
                };
                sim.send(collector, *at, call);
            }
        }
    }

    /// What the node answers if a rule is missing.
    fn without_rule(
        &mut self,
        sim: &Sim<Self>,
        at: Pid,
        operation: &OperationId,
        request: Request,
        outcome: Result<Reply, StoreError>,
    ) -> Result<Reply, StoreError> {
        let now = sim.now(at);
        let node = self.nodes.get_mut(&at).expect("calls go to nodes");
        match (self.missing, request, outcome) {
            (
                Some(Missing::EndedStaysEnded),
                Request::Seal { shard },
                Err(StoreError::Ended { .. }),
            ) => {
                let late = OperationId::new(format!("{operation}-late")).expect("a name");
                let follow = Request::Follow {
                    shard: shard.clone(),
                };
                node.handle(now, &late, follow)?;
                node.handle(now, &late, Request::Seal { shard })
            }
            (Some(Missing::DrainFirst), Request::Seal { .. }, Ok(Reply::Position(_))) => {
                Ok(Reply::Position(Lsn(0)))
            }
            (Some(Missing::Compare), _, Ok(Reply::Digest(found))) => {
                let digest = Digest::default();
                Ok(Reply::Digest(DigestAt { digest, ..found }))
            }
            (
                Some(Missing::OpenTakesNoCopies),
                Request::Apply {
                    target, changes, ..
                },
                Err(error @ StoreError::NotHeld { .. }),
            ) => {
                for change in changes.changes {
                    let value = change.value.as_deref();
                    // Whatever refuses it has nothing to lose.
                    drop(node.write(now, &target, &change.key, value));
                }
                Err(error)
            }
            (
                Some(Missing::OpenTakesNoCopies),
                Request::Import { target, page, .. },
                Err(error @ StoreError::NotHeld { .. }),
            ) => {
                for row in page.rows {
                    drop(node.write(now, &target, &row.key, Some(&row.value)));
                }
                Err(error)
            }
            (_, _, outcome) => outcome,
        }
    }

    /// Looks at a change of the journal.
    pub(super) fn journal_changes(
        &mut self,
        author: Pid,
        key: &Key,
        record: &Record,
    ) -> Result<(), String> {
        self.is_changed = true;
        let phase = record.phase();
        let before = self.phases.insert(key.clone(), phase);
        if before == Some(phase) {
            return Ok(());
        }
        if before.is_some_and(|before| !before.allows(phase)) {
            let id = record.id();
            return Err(format!("{author} takes {id} from {before:?} to {phase}"));
        }
        match phase {
            Phase::Committed => {
                self.layout = after(&self.layout, record);
                self.reached.push(situations::COMMITTED);
                if record.work.kind == OperationKind::Merge {
                    self.reached.push(situations::MERGED);
                }
            }
            Phase::Aborted => self.reached.push(situations::ABORTED),
            _ => {}
        }
        let error = record.operation.error.as_deref().unwrap_or_default();
        if error.contains("sealed for too long") {
            self.reached.push(situations::SEALED_TOO_LONG);
        }
        Ok(())
    }

    /// Only the shards that the journal names take writes, and they have what was accepted.
    pub(super) fn check_owners(&self) -> Result<(), String> {
        for (at, node) in &self.nodes {
            for (shard, serving) in node.shards() {
                let part = self.layout.part(shard.as_str());
                let owns = part.is_some_and(|part| node_pid(&part.node) == *at);
                if serving && !owns {
                    return Err(format!("{shard} on {at} takes writes and owns nothing"));
                }
            }
        }
        self.check_rows()
    }

    fn check_rows(&self) -> Result<(), String> {
        for (key, accepted) in &self.accepted {
            let owner = self.layout.owner(key).expect("every key has an owner");
            let node = &self.nodes[&node_pid(&owner.node)];
            let found = node.rows(&owner.shard).find(|(found, _)| found == key);
            let found = found.map_or(0, |(_, value)| number_of(value));
            if found < *accepted {
                let key = String::from_utf8_lossy(key);
                let shard = &owner.shard;
                return Err(format!(
                    "{shard} has {found} for {key}, {accepted} was accepted"
                ));
            }
        }
        Ok(())
    }

    /// The last operation has ended, its shards serve, and nothing else is there.
    pub(super) fn check_rest(&self, sim: &Sim<Self>) -> Result<(), String> {
        let records = Self::truth(sim);
        if let Some(last) = records.last().filter(|last| !last.phase().is_final()) {
            return Err(format!("{} is still {}", last.id(), last.phase()));
        }
        let layout = &self.layout;
        let mut serving = 0;
        for (at, node) in &self.nodes {
            for (shard, serves) in node.shards() {
                if layout.part(shard.as_str()).is_none() {
                    return Err(format!("{shard} is left over on {at}"));
                }
                if !serves {
                    return Err(format!("{shard} on {at} takes no writes"));
                }
                serving += 1;
            }
        }
        if serving == layout.len() {
            Ok(())
        } else {
            Err(format!("{serving} of {} shards are there", layout.len()))
        }
    }
}
