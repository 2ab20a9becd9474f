//! The stored form of records: JSON objects that say their format version.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use shardwright_topology::{NodeRecord, Operation, RegisteredCopies, ShardRecord};

use crate::BoxError;

/// A type that is stored, in a format with a name and a version.
///
/// The stored form is a JSON object with the version as its field `v`. A new field, or a changed meaning, is a new version.
pub trait Record: Serialize + DeserializeOwned + Send + Sync {
    /// What the format is called in messages, such as `shard record`.
    const KIND: &'static str;
    /// The version that is written, and the only one that is read.
    const VERSION: u64;

    /// Checks what holds of every record. Called when one was read and before one is written.
    ///
    /// # Errors
    /// The first rule that is broken.
    fn check(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

/// A value that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Another release wrote it in a format that this one does not know. Use that release.
    #[error("a {kind} in format {found} cannot be read, this release knows format {known}")]
    UnknownVersion {
        /// What it is.
        kind: &'static str,
        /// The version that was found.
        found: u64,
        /// The version that is known.
        known: u64,
    },
    /// It has no version, so no release wrote it.
    #[error("a {kind} has no format version")]
    NoVersion {
        /// What it should be.
        kind: &'static str,
    },
    /// It has its version, and not the fields of it.
    #[error("a {kind} is malformed")]
    Malformed {
        /// What it should be.
        kind: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Its fields contradict each other.
    #[error("a {kind} contradicts itself")]
    Invalid {
        /// What it should be.
        kind: &'static str,
        /// The rule that it breaks.
        #[source]
        source: BoxError,
    },
    /// The type is stored as something other than a JSON object.
    #[error("a {kind} is no JSON object")]
    NoObject {
        /// What it should be.
        kind: &'static str,
    },
}

/// Returns the stored form of a record.
///
/// # Errors
/// [`FormatError`] if the record contradicts itself or is no JSON object.
pub fn encode<T: Record>(record: &T) -> Result<Vec<u8>, FormatError> {
    let kind = T::KIND;
    record
        .check()
        .map_err(|source| FormatError::Invalid { kind, source })?;
    let malformed = |source| FormatError::Malformed { kind, source };
    let Value::Object(fields) = serde_json::to_value(record).map_err(malformed)? else {
        return Err(FormatError::NoObject { kind });
    };
    // The version comes first, so that a person sees it.
    let mut object = serde_json::Map::new();
    object.insert("v".to_owned(), T::VERSION.into());
    object.extend(fields);
    serde_json::to_vec(&object).map_err(malformed)
}

/// Reads a record from its stored form.
///
/// # Errors
/// [`FormatError`] if another release wrote it, or it is damaged.
pub fn decode<T: Record>(stored: &[u8]) -> Result<T, FormatError> {
    let kind = T::KIND;
    let malformed = |source| FormatError::Malformed { kind, source };
    let Value::Object(mut object) = serde_json::from_slice(stored).map_err(malformed)? else {
        return Err(FormatError::NoObject { kind });
    };
    let version = object.remove("v").as_ref().and_then(Value::as_u64);
    match version {
        None => return Err(FormatError::NoVersion { kind }),
        Some(found) if found != T::VERSION => {
            return Err(FormatError::UnknownVersion {
                kind,
                found,
                known: T::VERSION,
            });
        }
        Some(_) => {}
    }
    let record: T = serde_json::from_value(Value::Object(object)).map_err(malformed)?;
    record
        .check()
        .map_err(|source| FormatError::Invalid { kind, source })?;
    Ok(record)
}

impl Record for ShardRecord {
    const KIND: &'static str = "shard record";
    const VERSION: u64 = 1;

    fn check(&self) -> Result<(), BoxError> {
        Ok(self.check_invariants()?)
    }
}

impl Record for NodeRecord {
    const KIND: &'static str = "node record";
    const VERSION: u64 = 1;
}

impl Record for RegisteredCopies {
    const KIND: &'static str = "registered copies";
    const VERSION: u64 = 1;
}

impl Record for Operation {
    const KIND: &'static str = "operation";
    const VERSION: u64 = 1;

    fn check(&self) -> Result<(), BoxError> {
        Ok(self.check_invariants()?)
    }
}

#[cfg(test)]
mod tests {
    use shardwright_topology::{Epoch, KeyRange, KeyspaceName, NodeId, ShardId, ShardState};

    use super::*;

    fn shard() -> ShardRecord {
        ShardRecord::new(
            KeyspaceName::main(),
            ShardId::numbered(0),
            Some(KeyRange::ALL),
        )
    }

    #[test]
    fn a_record_reads_back_and_begins_with_its_version() {
        let stored = encode(&shard()).expect("a valid record");
        assert_eq!(decode::<ShardRecord>(&stored).expect("as written"), shard());
        let node = NodeRecord::new(NodeId::new("n1").expect("a name"), "http://localhost:1");
        let stored = encode(&node).expect("a valid record");
        let expect = concat!(
            r#"{"v":1,"address":"http://localhost:1","id":"n1","incarnation":1,"#,
            r#""location":{"region":null,"zone":null},"role":"primary","state":"joining","weight":100}"#,
        );
        let text = String::from_utf8(stored).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Value>(&text).ok(),
            serde_json::from_str(expect).ok()
        );
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let refused = decode::<ShardRecord>(br#"{"v":2,"id":"shard-0"}"#).expect_err("version 2");
        let message = refused.to_string();
        assert_eq!(
            message,
            "a shard record in format 2 cannot be read, this release knows format 1"
        );
        let refused = decode::<ShardRecord>(br#"{"id":"shard-0"}"#).expect_err("no version");
        assert!(
            matches!(refused, FormatError::NoVersion { .. }),
            "{refused}"
        );
    }

    #[test]
    fn damage_is_an_error() {
        for stored in ["", "{", "[]", "{\"v\":1}", "{\"v\":1,\"id\":7}", "\u{0}"] {
            assert!(
                decode::<ShardRecord>(stored.as_bytes()).is_err(),
                "{stored:?} was read"
            );
        }
    }

    #[test]
    fn a_record_that_contradicts_itself_is_neither_written_nor_read() {
        let importing = ShardRecord {
            state: ShardState::Importing,
            ..shard()
        };
        let refused = encode(&importing).expect_err("nobody holds it");
        assert!(matches!(refused, FormatError::Invalid { .. }), "{refused}");
        let text = String::from_utf8(encode(&shard()).expect("valid")).expect("JSON");
        let torn = text.replace("serving", "importing");
        assert_ne!(torn, text);
        let refused = decode::<ShardRecord>(torn.as_bytes()).expect_err("nobody holds it");
        assert!(matches!(refused, FormatError::Invalid { .. }), "{refused}");
        assert_eq!(shard().epoch, Epoch::UNASSIGNED);
    }
}
