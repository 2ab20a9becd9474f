//! Values as Hrana has them in JSON: each with its type, integers as text, blobs in base64.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use shardwright_sql::Value;

/// Written without padding, and read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum HranaValue {
    Null,
    Integer {
        #[serde(with = "integer")]
        value: i64,
    },
    Float {
        value: f64,
    },
    Text {
        value: String,
    },
    Blob {
        #[serde(with = "blob")]
        base64: Vec<u8>,
    },
}

/// A value of a row that the protocol has no form for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Untold {
    #[error("a text of the answer is not UTF-8, which this protocol cannot say: CAST it AS BLOB")]
    Text,
    #[error("a number of the answer is infinite, which this protocol cannot say: CAST it AS TEXT")]
    Infinite,
}

impl From<HranaValue> for Value {
    fn from(value: HranaValue) -> Self {
        match value {
            HranaValue::Null => Self::Null,
            HranaValue::Integer { value } => Self::Integer(value),
            HranaValue::Float { value } => Self::Real(value),
            HranaValue::Text { value } => Self::Text(value.into_bytes()),
            HranaValue::Blob { base64 } => Self::Blob(base64),
        }
    }
}

impl TryFrom<Value> for HranaValue {
    type Error = Untold;

    fn try_from(value: Value) -> Result<Self, Untold> {
        Ok(match value {
            Value::Null => Self::Null,
            Value::Integer(value) => Self::Integer { value },
            Value::Real(value) if value.is_finite() => Self::Float { value },
            Value::Real(_) => return Err(Untold::Infinite),
            Value::Text(bytes) => Self::Text {
                value: String::from_utf8(bytes).map_err(|_| Untold::Text)?,
            },
            Value::Blob(base64) => Self::Blob { base64 },
        })
    }
}

impl HranaValue {
    /// About how many bytes it takes in a reply.
    pub(super) fn size(&self) -> usize {
        let content = match self {
            Self::Null | Self::Integer { .. } | Self::Float { .. } => 16,
            Self::Text { value } => value.len(),
            Self::Blob { base64 } => base64.len() / 3 * 4,
        };
        content + 32
    }
}

/// Integers are texts, because numbers in JavaScript have 53 bits. A number is understood too.
mod integer {
    use super::{Deserialize, Deserializer, Serializer, de};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Text(String),
        Number(i64),
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    pub(super) fn serialize<S: Serializer>(value: &i64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        match Given::deserialize(from)? {
            Given::Text(text) => text.parse().map_err(de::Error::custom),
            Given::Number(number) => Ok(number),
        }
    }
}

mod blob {
    use super::{BASE64, Deserialize, Deserializer, Engine, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        BASE64.decode(text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(json: &str, expect: Option<Value>) {
        let read = serde_json::from_str::<HranaValue>(json);
        assert_eq!(read.ok().map(Value::from), expect, "{json}");
    }

    #[test]
    fn values_are_read_as_clients_write_them() {
        check(r#"{"type":"null"}"#, Some(Value::Null));
        let most = Some(Value::Integer(i64::MAX));
        check(r#"{"type":"integer","value":"9223372036854775807"}"#, most);
        check(r#"{"value":3,"type":"integer"}"#, Some(Value::Integer(3)));
        check(r#"{"type":"float","value":1}"#, Some(Value::Real(1.0)));
        check(
            r#"{"type":"text","value":"é","x":1}"#,
            Some(Value::from("é")),
        );
        for base64 in ["/wA", "/wA="] {
            let blob = Some(Value::Blob(vec![255, 0]));
            check(&format!(r#"{{"type":"blob","base64":"{base64}"}}"#), blob);
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        check(r#"{"type":"integer","value":"9223372036854775808"}"#, None);
        check(r#"{"type":"integer","value":1.5}"#, None);
        check(r#"{"type":"blob","base64":"?"}"#, None);
        check(r#"{"type":"date"}"#, None);
    }

    #[test]
    fn what_cannot_be_said_is_not_made_up() {
        let infinite = HranaValue::try_from(Value::Real(f64::INFINITY));
        assert_eq!(infinite, Err(Untold::Infinite));
        let text = HranaValue::try_from(Value::Text(vec![0xff]));
        assert_eq!(text, Err(Untold::Text));
    }

    proptest! {
        #[test]
        fn a_value_is_read_as_it_was_written(
            number: i64,
            real in prop::num::f64::NORMAL | prop::num::f64::ZERO,
            text: String,
            bytes: Vec<u8>,
        ) {
            for value in [Value::Integer(number), Value::Real(real), Value::from(&*text), Value::Blob(bytes)] {
                let told = HranaValue::try_from(value.clone()).unwrap();
                let json = serde_json::to_string(&told).unwrap();
                let read: HranaValue = serde_json::from_str(&json).unwrap();
                prop_assert_eq!(Value::from(read), value);
            }
        }
    }
}
