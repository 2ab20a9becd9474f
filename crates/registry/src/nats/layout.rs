//! Where a bucket keeps what: the layout of NATS's own key-value buckets.

use serde::{Deserialize, Serialize};

use super::options::{NatsError, NatsOptions};
use crate::{Key, Prefix, VALUE_MAX};

/// The names of a bucket's stream and subjects.
///
/// A key's `/` is a subject's `.`, so that a prefix is a wildcard; a key's `.` is `=`, which no key holds.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) stream: String,
    subjects: String,
}

impl Layout {
    pub(super) fn new(bucket: &str) -> Self {
        Self {
            stream: format!("KV_{bucket}"),
            subjects: format!("$KV.{bucket}."),
        }
    }

    pub(super) fn subject(&self, key: &Key) -> String {
        format!("{}{}", self.subjects, translated(key.as_str()))
    }

    pub(super) fn filter(&self, prefix: &Prefix) -> String {
        format!("{}{}>", self.subjects, translated(prefix.as_str()))
    }

    /// The key of a subject; `None` if somebody else put something else there.
    pub(super) fn key(&self, subject: &str) -> Option<Key> {
        let path = subject.strip_prefix(&self.subjects)?;
        let back = |byte: char| match byte {
            '.' => '/',
            '=' => '.',
            other => other,
        };
        Key::new(path.chars().map(back).collect::<String>()).ok()
    }
}

fn translated(path: &str) -> String {
    let there = |byte: char| match byte {
        '/' => '.',
        '.' => '=',
        other => other,
    };
    path.chars().map(there).collect()
}

/// The settings of a stream that matter here, in the form that the servers read and write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamConfig {
    pub(super) name: String,
    #[serde(default)]
    pub(super) subjects: Vec<String>,
    pub(super) retention: String,
    pub(super) storage: String,
    pub(super) discard: String,
    pub(super) num_replicas: u32,
    pub(super) max_msgs_per_subject: i64,
    #[serde(default = "unlimited")]
    pub(super) max_msgs: i64,
    #[serde(default = "unlimited")]
    pub(super) max_bytes: i64,
    #[serde(default = "unlimited")]
    pub(super) max_consumers: i64,
    #[serde(default = "unlimited")]
    pub(super) max_msg_size: i64,
    /// In nanoseconds; 0 is for ever.
    #[serde(default)]
    pub(super) max_age: u64,
    #[serde(default)]
    pub(super) allow_direct: bool,
    #[serde(default)]
    pub(super) deny_delete: bool,
    #[serde(default)]
    pub(super) deny_purge: bool,
    #[serde(default)]
    pub(super) no_ack: bool,
}

fn unlimited() -> i64 {
    -1
}

/// What a message needs besides its value: the headers.
const HEADERS_MAX: usize = 1024;

impl StreamConfig {
    /// What the stream of a new bucket is like. Reads go to its leader, nothing expires, and nobody takes a message out.
    pub(super) fn of(options: &NatsOptions, layout: &Layout) -> Self {
        let size = VALUE_MAX + HEADERS_MAX;
        Self {
            name: layout.stream.clone(),
            subjects: vec![layout.filter(&Prefix::all())],
            retention: "limits".to_owned(),
            storage: "file".to_owned(),
            discard: "new".to_owned(),
            num_replicas: options.replicas,
            max_msgs_per_subject: options.history.into(),
            max_msgs: unlimited(),
            max_bytes: unlimited(),
            max_consumers: unlimited(),
            max_msg_size: i64::try_from(size).unwrap_or(i64::MAX),
            max_age: 0,
            allow_direct: false,
            deny_delete: true,
            deny_purge: true,
            no_ack: false,
        }
    }

    /// Refuses a stream that would lose records. What is merely unwise is for `doctor`.
    pub(super) fn check(&self, bucket: &str, wanted: &Self) -> Result<(), NatsError> {
        let refuse = |setting, found: String, needed: &str| {
            Err(NatsError::Setting {
                bucket: bucket.to_owned(),
                setting,
                found,
                needed: needed.to_owned(),
            })
        };
        if self.subjects != wanted.subjects {
            return refuse("subjects", self.subjects.join(","), &wanted.subjects[0]);
        }
        if self.retention != "limits" {
            return refuse("retention", self.retention.clone(), "limits");
        }
        if self.max_age != 0 {
            return refuse("max_age", self.max_age.to_string(), "0");
        }
        if self.no_ack {
            return refuse("no_ack", "true".to_owned(), "false");
        }
        if self.max_msgs > 0 && self.discard != "new" {
            return refuse("discard", self.discard.clone(), "new");
        }
        if (0..wanted.max_msg_size).contains(&self.max_msg_size) {
            let needed = format!("{} or more", wanted.max_msg_size);
            return refuse("max_msg_size", self.max_msg_size.to_string(), &needed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_again_in_its_subject() {
        let layout = Layout::new("main");
        for (text, subject) in [
            ("node/n1", "$KV.main.node.n1"),
            ("shard/main/eu.west_1-a", "$KV.main.shard.main.eu=west_1-a"),
        ] {
            let key = Key::new(text).expect("a key");
            assert_eq!(layout.subject(&key), subject);
            assert_eq!(layout.key(subject), Some(key));
        }
        assert_eq!(layout.key("$KV.other.node.n1"), None);
        assert_eq!(layout.key("$KV.main.node.*"), None);
        let prefix = Prefix::new("shard/main/").expect("a prefix");
        assert_eq!(layout.filter(&prefix), "$KV.main.shard.main.>");
        assert_eq!(layout.filter(&Prefix::all()), "$KV.main.>");
    }

    #[test]
    fn a_stream_that_forgets_is_refused() {
        let options = NatsOptions::new("nats://a");
        let layout = Layout::new(&options.bucket);
        let wanted = StreamConfig::of(&options, &layout);
        assert!(wanted.check("main", &wanted).is_ok());
        let forgets = StreamConfig {
            max_age: 1,
            ..wanted.clone()
        };
        let message = forgets.check("main", &wanted).expect_err("it forgets");
        assert_eq!(
            message.to_string(),
            "stream KV_main has max_age 1, the registry needs 0"
        );
    }
}
