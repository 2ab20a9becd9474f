//! Refusals: why the node that was asked did not answer, as it is said on the wire.

use serde::{Deserialize, Serialize};
use shardwright_topology::{Epoch, NodeId};

/// Why a node did not answer a request.
///
/// After all but [`Refusal::HandlerFailed`], [`Refusal::AnswerTooLarge`] and [`Refusal::DeadlinePassed`] with `began`, the
/// method did not run. On the wire it is a JSON object with its name as the field `code`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Refusal {
    /// The node owns the shard at a later epoch than the request says.
    StaleEpoch {
        /// Its epoch.
        current: Epoch,
    },
    /// The request says a later epoch than the node has heard of, and it did not hear of it in time.
    Behind {
        /// The epoch that it knows.
        current: Epoch,
    },
    /// The node does not own the shard.
    NotPrimary {
        /// Who does, as far as it knows.
        owner: Option<NodeId>,
        /// Since which epoch.
        epoch: Epoch,
    },
    /// The node is handing the shard over.
    CutOver {
        /// The epoch that ends.
        epoch: Epoch,
    },
    /// The node's lease does not let it serve.
    NotServing {
        /// The epoch that it was assigned.
        epoch: Epoch,
    },
    /// The node answers as many requests as it takes at once.
    Overloaded,
    /// The node's map has no such shard.
    UnknownShard,
    /// The node has no handler of that name.
    UnknownMethod,
    /// The handler ran and failed.
    HandlerFailed {
        /// What it said.
        message: String,
    },
    /// The time that the request was given is over.
    DeadlinePassed {
        /// Whether the handler had begun: then it may have done a part.
        began: bool,
    },
    /// The request is larger than the node takes.
    PayloadTooLarge {
        /// The largest that it takes, in bytes.
        limit: usize,
    },
    /// The handler ran, and its answer is larger than the transport takes.
    AnswerTooLarge {
        /// The size of the answer, in bytes.
        size: usize,
        /// The largest that is taken, in bytes.
        limit: usize,
    },
    /// The caller has not shown the token.
    NotAuthorized,
    /// The request cannot be read: the caller is of another release, or no caller.
    Malformed {
        /// What is wrong with it.
        what: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_back_from_its_wire_form() {
        let all = [
            (
                Refusal::StaleEpoch { current: Epoch(7) },
                r#"{"code":"stale-epoch","current":7}"#,
            ),
            (
                Refusal::NotPrimary {
                    owner: None,
                    epoch: Epoch(2),
                },
                r#"{"code":"not-primary","owner":null,"epoch":2}"#,
            ),
            (Refusal::UnknownShard, r#"{"code":"unknown-shard"}"#),
            (Refusal::Overloaded, r#"{"code":"overloaded"}"#),
            (
                Refusal::DeadlinePassed { began: true },
                r#"{"code":"deadline-passed","began":true}"#,
            ),
        ];
        for (refusal, text) in all {
            assert_eq!(serde_json::to_string(&refusal).unwrap(), text);
            assert_eq!(serde_json::from_str::<Refusal>(text).unwrap(), refusal);
        }
    }
}
