//! The coordinator as a pure machine: what it is told goes in, what it wants done comes out.

mod commands;
mod contact;
mod conversation;
mod election;
mod event;
mod gathering;
mod leadership;
mod machine;
mod migration;
mod mirror;
mod moving;
mod notice;
mod pins;
mod reconcile;
mod refusal;
mod replicated;
mod sessions;
mod settings;
mod show;
mod view;

pub(crate) use self::replicated::merge_of;
pub use self::{
    event::{
        Action, Change, Command, CommandId, Done, Event, Steering, Value, WriteId, WriteOutcome,
    },
    gathering::{Gathering, Relocation},
    machine::{Core, Draw},
    notice::Notice,
    refusal::Refusal,
    settings::{Replication, Settings},
    view::{NodeView, Progress, ReplicatedView, TroubleView, View},
};
