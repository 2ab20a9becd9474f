//! The wire form of requests and replies.

use std::{str, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use shardwright_topology::{Epoch, ShardId};

use crate::{Refusal, Request, Response};

/// The version of requests.
const REQUEST: u8 = 1;
const ANSWER: u8 = 0;
const REFUSAL: u8 = 1;

/// What a payload shares a message with at most, the names of its shard and its method in particular.
pub(super) const HEAD_MAX: usize = 4096;

/// What an answer shares a message with: the kind of the response.
pub(super) const REPLY_HEAD: usize = 1;

/// A message that no node of this release sent.
#[derive(Debug, thiserror::Error)]
#[error("a reply that no router sent")]
pub(super) struct Foreign;

/// Returns the message of a request.
pub(super) fn request(request: &Request) -> Bytes {
    let (shard, method) = (request.shard.as_str(), &*request.method);
    let length = 1 + 2 + shard.len() + 2 + method.len() + 16 + request.payload.len();
    let mut message = BytesMut::with_capacity(length);
    message.put_u8(REQUEST);
    for text in [shard, method] {
        // What does not fit is cut, and refused by whoever reads it.
        message.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
        message.put_slice(text.as_bytes());
    }
    message.put_u64(request.epoch.0);
    message.put_u64(u64::try_from(request.timeout.as_micros()).unwrap_or(u64::MAX));
    message.put_slice(&request.payload);
    message.freeze()
}

/// Reads the message of a request.
pub(super) fn read_request(mut message: Bytes) -> Result<Request, Refusal> {
    let malformed = |what: &str| Refusal::Malformed {
        what: what.to_owned(),
    };
    match message.try_get_u8() {
        Ok(REQUEST) => {}
        Ok(_) | Err(_) => return Err(malformed("its format is of another release")),
    }
    let shard = text(&mut message).ok_or_else(|| malformed("the shard"))?;
    let shard = shard.parse::<ShardId>();
    let method = text(&mut message).ok_or_else(|| malformed("the method"))?;
    let (Ok(epoch), Ok(timeout_us)) = (message.try_get_u64(), message.try_get_u64()) else {
        return Err(malformed("its end is missing"));
    };
    Ok(Request {
        shard: shard.map_err(|_| malformed("the shard"))?,
        epoch: Epoch(epoch),
        method: method.into(),
        timeout: Duration::from_micros(timeout_us),
        payload: message,
    })
}

fn text(message: &mut Bytes) -> Option<String> {
    let length = usize::from(message.try_get_u16().ok()?);
    if message.len() < length {
        return None;
    }
    let bytes = message.split_to(length);
    str::from_utf8(&bytes).ok().map(str::to_owned)
}

/// Returns the message of a response.
pub(super) fn reply(response: &Response) -> Bytes {
    let (kind, body) = match response {
        Ok(answer) => (ANSWER, answer.clone()),
        // Plain data always has a JSON form.
        Err(refusal) => {
            let body = serde_json::to_vec(refusal).unwrap_or_default();
            (REFUSAL, body.into())
        }
    };
    let mut message = BytesMut::with_capacity(1 + body.len());
    message.put_u8(kind);
    message.put_slice(&body);
    message.freeze()
}

/// Reads the message of a response.
pub(super) fn read_reply(mut message: Bytes) -> Result<Response, Foreign> {
    match message.try_get_u8() {
        Ok(ANSWER) => Ok(Ok(message)),
        Ok(REFUSAL) => {
            let refusal = serde_json::from_slice(&message);
            refusal.map(Err).map_err(|_| Foreign)
        }
        Ok(_) | Err(_) => Err(Foreign),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_request_reads_back_and_its_parts_are_refused(
            shard in "[a-z0-9]{1,20}",
            method in ".{0,30}",
            epoch: u64,
            timeout_us: u64,
            payload in prop::collection::vec(any::<u8>(), 0..50),
            cut in 0.0..1.0,
        ) {
            let sent = Request {
                shard: ShardId::new(shard).unwrap(),
                epoch: Epoch(epoch),
                method: method.into(),
                timeout: Duration::from_micros(timeout_us),
                payload: payload.into(),
            };
            let message = request(&sent);
            let head = message.len() - sent.payload.len();
            let cut = (head as f64 * cut) as usize;
            prop_assert!(read_request(message.slice(..cut)).is_err());
            prop_assert_eq!(read_request(message), Ok(sent));
        }

        #[test]
        fn any_message_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = read_request(bytes.clone().into());
            let _ = read_reply(bytes.into());
        }
    }

    #[test]
    fn a_reply_reads_back() {
        let all: [Response; 2] = [
            Ok(Bytes::from_static(b"\x01answer")),
            Err(Refusal::StaleEpoch { current: Epoch(3) }),
        ];
        for response in all {
            assert_eq!(read_reply(reply(&response)).unwrap(), response);
        }
    }
}
