//! What a split of a shard asks of its copies.
//!
//! ```text
//! source:  record "keep what is here aside" (Cut) ─ each copy writes the part of each target into the directory of the target's copy
//! target:  record "begin with that" (Take)        ─ each copy of the target takes the part that lies there: nothing goes over the network
//!          then the records of the source since the cut, as far as they concern the target, each once
//! source:  a note that it is sealed               ─ the last record that counts
//! ```
//! The log orders all of it, so that every copy does the same, and whoever is primary goes on where the one before was. A copy of a target
//! that has no part, or another one, is made anew from the others.

mod aside;
pub(super) mod base;
mod cut;
mod import;
mod merging;
mod record;
mod seal;
mod shard_copy;

pub(super) use self::record::decode;
pub use self::{
    aside::Aside,
    base::Making,
    shard_copy::{ShardCopy, Standing},
};
pub(crate) use self::{
    base::{Base, BaseState},
    cut::{CutError, Cutting, schema_number},
    import::{ImportError, Importing, SourceRecord, Wanted},
    merging::Merging,
    record::{Cut, CutPart, SplitBase, Take, import_client},
    seal::{OWN_NOTES, SEALED, SHIFT, SealError, Sealing, is_own_note},
};
