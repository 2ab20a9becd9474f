//! What is stored of a lookup key.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use shardwright_hashing::sha256_hex;

/// What is stored of a lookup key.
#[doc(alias = "hashShardMappings")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LookupForm {
    /// Its HMAC-SHA-256 under a secret beside the database. Without the secret, nobody can try out which lookup keys there are.
    #[default]
    Hmac,
    /// Its SHA-256. Whoever reads the files can try out addresses and names.
    Sha256,
    /// The lookup key itself, so that it can be listed.
    Clear,
}

/// A secret, and the name under which tokens mention it.
#[derive(Clone)]
pub(super) struct Secret {
    pub(super) name: String,
    bytes: [u8; 32],
}

impl Secret {
    pub(super) fn new(bytes: [u8; 32]) -> Self {
        let mut name = sha256_hex(bytes);
        name.truncate(8);
        Self { name, bytes }
    }

    /// As it is kept in its file.
    pub(super) fn to_hex(&self) -> String {
        hex(&self.bytes)
    }

    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
        }
        Some(Self::new(bytes))
    }

    pub(super) fn token(&self, lookup_key: &str) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.bytes).expect("HMAC takes keys of any length");
        mac.update(lookup_key.as_bytes());
        format!("hmac-{}:{}", self.name, hex(&mac.finalize().into_bytes()))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({})", self.name)
    }
}

/// The token of a form without a secret.
pub(super) fn plain_token(form: LookupForm, lookup_key: &str) -> Option<String> {
    match form {
        LookupForm::Hmac => None,
        LookupForm::Sha256 => Some(format!("sha256:{}", sha256_hex(lookup_key))),
        LookupForm::Clear => Some(format!("clear:{lookup_key}")),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
