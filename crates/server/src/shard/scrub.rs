//! The comparison of a shard's copies, a slice at a time.
//!
//! ```text
//! primary:  record "compare the slice from here"    ─ applied by each copy, which digests the slice as the record left it
//!           ask each member what it holds there     ─ what most of them hold is right
//!           record "right was this, and go on here" ─ a copy that holds something else is set aside, the primary too
//! ```
//! The log orders both, so that all copies speak of the same moment, and one that comes later is judged all the same. A slice is small: no
//! copy holds a snapshot for long, and no record waits for it.

mod held;
mod record;
mod vote;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use shardwright_quorum::log::{
    Kind, Level,
    shard_log::{AppendError, Appended, Entry},
};
use shardwright_topology::{Config, Lsn, Member, NodeId};

pub(super) use self::held::Held;
use self::{
    record::{Judged, Slice, Step},
    vote::vote,
};
use super::Shard;

/// How long the log may take for a record.
const APPENDING: Duration = Duration::from_secs(30);

/// How long one question to a member is waited for.
const ASKING: Duration = Duration::from_secs(1);

/// How long to wait before a member is asked again that has not come so far.
const AGAIN: Duration = Duration::from_millis(20);

/// How the copies of a shard are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubOptions {
    /// How many rows a slice has, at most. 4,096.
    pub rows: u32,
    /// How long to wait from one slice to the next. 100 ms.
    pub pause: Duration,
    /// How long the members are waited for. Those that have not come so far then are not compared. 10 s.
    pub patience: Duration,
}

impl Default for ScrubOptions {
    fn default() -> Self {
        Self {
            rows: 1 << 12,
            pause: Duration::from_millis(100),
            patience: Duration::from_secs(10),
        }
    }
}

/// What a comparison has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// How many slices were compared.
    pub slices: u64,
    /// How many rows they had.
    pub rows: u64,
    /// How many answers of members were missing.
    pub missing: u64,
    /// Where copies differ from what most copies hold: they are set aside.
    pub differing: BTreeSet<NodeId>,
    /// How many slices differ and no majority holds the same: nothing is done about those, and people have to look.
    pub undecided: u64,
}

/// Why a comparison ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScrubError {
    /// This copy is not the primary: nothing was compared. Ask the node of the primary.
    #[error("this copy is not the primary of the shard")]
    NotPrimary,
    /// The log did not take a record. Try again later.
    #[error("the log takes no record")]
    Append(#[from] AppendError),
    /// This copy could not be read in time. Try again later.
    #[error("this copy could not be read in time")]
    Late,
}

impl Shard {
    /// Compares what the copies of the shard hold, all of it, a slice at a time, while it goes on being written to. This copy has to be the
    /// primary. A copy that differs from most of them is set aside, and made anew.
    ///
    /// # Errors
    /// [`ScrubError`]: what was compared before counts.
    pub async fn scrub(&self, options: ScrubOptions) -> Result<Scrubbed, ScrubError> {
        let mut found = Scrubbed::default();
        let (mut slice, mut judged) = (Some(Slice::first(options.rows)), None);
        while slice.is_some() || judged.is_some() {
            let is_last = slice.is_none();
            let step = Step { judged, slice };
            let (appended, config) = self.note(&step).await?;
            if is_last {
                break;
            }
            let here = self.data.held().until_known(appended.lsn, options.patience);
            let here = here.await.ok_or(ScrubError::Late)?;
            (found.slices, found.rows) = (found.slices + 1, found.rows + here.rows);
            judged = self.judge(appended.lsn, &config, options, &mut found).await;
            slice = here.next.map(|from| Slice::after(from, options.rows));
            tokio::time::sleep(options.pause).await;
        }
        Ok(found)
    }

    /// Appends a step, between two transactions.
    async fn note(&self, step: &Step) -> Result<(Appended, Config), ScrubError> {
        let entry = Entry::new(Kind::Compare, step.to_bytes());
        let _turn = self.turn.lock().await;
        let leads = self.status().borrow().leads.clone();
        let config = leads.ok_or(ScrubError::NotPrimary)?;
        let appended = self.log.append(entry, Level::Quorum, APPENDING).await?;
        Ok((appended, config))
    }

    /// Asks all members what they hold, and returns what is right.
    async fn judge(
        &self,
        lsn: Lsn,
        config: &Config,
        options: ScrubOptions,
        found: &mut Scrubbed,
    ) -> Option<Judged> {
        let said = self.ask_all(lsn, config, options.patience).await;
        let members: BTreeSet<_> = config.members.iter().map(|each| each.replica_id).collect();
        found.missing += (members.len() - said.len()) as u64;
        let digests: Vec<_> = said.values().copied().collect();
        let right = vote(members.len(), &digests);
        let Some(right) = right else {
            if digests.windows(2).any(|pair| pair[0] != pair[1]) {
                found.undecided += 1;
                tracing::error!(shard = %self.log.shard(), %lsn, "the copies differ, and no majority holds the same");
            }
            return None;
        };
        for (member, digest) in &said {
            if *digest != right {
                tracing::error!(shard = %self.log.shard(), %lsn, node = %member.node, "a copy differs from most others");
                found.differing.insert(member.node.clone());
            }
        }
        Some(Judged { lsn, right })
    }

    /// Asks the members at once, each until it knows.
    async fn ask_all(
        &self,
        lsn: Lsn,
        config: &Config,
        patience: Duration,
    ) -> BTreeMap<Member, [u8; 32]> {
        let asking = config.members.iter().map(|member| {
            let (shard, member) = (self.clone(), member.clone());
            tokio::spawn(async move {
                let said = tokio::time::timeout(patience, shard.ask(lsn, &member)).await;
                said.ok().flatten().map(|digest| (member, digest))
            })
        });
        let mut said = BTreeMap::new();
        for asked in asking.collect::<Vec<_>>() {
            // One that panicked knows nothing.
            said.extend(asked.await.ok().flatten());
        }
        said
    }

    async fn ask(&self, lsn: Lsn, member: &Member) -> Option<[u8; 32]> {
        let (peers, shard) = (&self.peers, self.log.shard());
        if member.node == *peers.node() {
            let here = self.content(lsn)?;
            return (here.replica_id == member.replica_id).then_some(here.digest);
        }
        loop {
            match peers.content_of(&member.node, shard, lsn, ASKING).await {
                Some(content) if content.replica_id == member.replica_id => {
                    return Some(content.digest);
                }
                // Another copy is there by now.
                Some(_) => return None,
                None => tokio::time::sleep(AGAIN).await,
            }
        }
    }
}
