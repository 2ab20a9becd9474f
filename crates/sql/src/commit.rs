//! Commits over several participants, all or nothing: who says what to whom, as pure state machines.
//!
//! A [`Caller`] runs one commit. A [`Participant`] is one shard's part in all of them: it lends its one writer to one
//! commit at a time. Neither reads a clock, stores anything or sends anything: a driver feeds events and carries out
//! actions.
//!
//! ```text
//! caller                       first participant              every other participant
//!   | Enlist ------------------->| writer lent, ticket          |
//!   | Enlist ---------------------------------------------------->| writer lent, ticket
//!   |   (statements run at each, in open transactions)          |
//!   | Prepare{ticket of the first} ------------------------------>| record PREPARED, durable
//!   |<---------------------------------------------------- Prepared
//!   | Decide ------------------->| record DECIDED, durable, with its own part: the commit point
//!   |<---------------- Committed |                              |
//!   | Heard -------------------->| Resolve{commit} ------------->| record RESOLVED, durable; writer free
//!   |                            |<----------------- Acknowledge |
//!   |                            | decision forgotten           |
//! ```
//!
//! The first participant prepares nothing: its part and the decision are one durable write. So a commit over two shards
//! costs two durable writes before it is answered, and one after that.
//!
//! # Why it is all or nothing
//!
//! - A *ticket* is one opening of one participant's writer. It is granted before anything is prepared, is good once, ends
//!   with the process or the term that granted it, and is never granted again. A decision needs the live ticket of the
//!   first participant.
//! - A prepared participant that hears nothing asks the first one, and names the ticket under which it prepared. The
//!   first answers *commit* if it keeps the decision. Otherwise it ends the ticket, if that lives, and answers *abort*: a
//!   decision that arrives later finds no ticket. So an abort needs no record, and nothing has to remember it.
//! - A decision is forgotten when every other participant has acknowledged that it is resolved there, durably. Whoever
//!   still waits has not acknowledged, so *no decision is known* never reaches one that waits for a commit. Having
//!   acknowledged, a participant cannot wait for the same commit again, because its ticket is used up.
//! - A caller that lost the answer asks again with the same ticket. For it the decision is kept until it has
//!   [heard](Message::Heard), or for [`Timing::retention`]; a caller that asks later is told that the outcome is
//!   [not known](Outcome::Unknown), never that it was an abort.
//!
//! # Locks
//!
//! A writer is lent for [`Timing::hold`] at most, as long as the first participant can be reached: one that has not
//! prepared loses it then, one that has asks for the outcome. Between commits the older one, by [`CommitId`], goes
//! first: it takes the writer from a younger one that has not prepared (which is *wounded*, and may be repeated), and
//! waits for one that has. A younger one waits. So no two wait for each other.
//!
//! # What a driver has to do
//!
//! - Keep the records of [`Action::Store`] in the participant's own storage, in the transaction of what they stand for,
//!   and say [`Event::Stored`] when they are durable. A PREPARED record has to be durable no later than any DECIDED
//!   record that relies on it: a driver whose participants live and die together may keep the prepared part of one
//!   in the decision's record at another.
//! - Begin a [`Participant`] with what was stored, under a term that was never used before, and let nobody else write
//!   before that.
//! - Call [`Participant::handle`] with [`Event::Tick`] at [`Participant::next_wake`], and the caller likewise.
//! - Answer to the caller of an id; deliver messages to participants by name. Messages may be lost, repeated and
//!   reordered.

mod caller;
pub mod cut;
mod id;
mod message;
pub mod notes;
mod participant;
mod timing;

pub use self::{
    caller::{Caller, CallerAction, CallerEvent, Outcome},
    id::{CommitId, Party, Ticket},
    message::{Answer, Message, Refusal, Verdict},
    participant::{Action, Event, Participant, Prepared, Record},
    timing::Timing,
};

#[cfg(test)]
mod tests;
