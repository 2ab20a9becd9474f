//! The coordinator as a pure machine: what it is told goes in, what it wants done comes out.

mod event;
mod notice;
mod refusal;
mod view;

pub use self::{
    event::{Action, Change, Command, CommandId, Done, Event, Value, WriteId, WriteOutcome},
    notice::Notice,
    refusal::Refusal,
    view::{NodeView, View},
};
