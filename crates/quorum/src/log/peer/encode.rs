//! What nodes say to one another, as bytes.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shardwright_topology::{Lsn, ShardId};

use super::{
    contents::Content,
    frame::{FrameError, frame},
};
use crate::log::{Answer, Ask, Hash, Record, Reply, Request};

/// One message. Its records come behind it, so that they are encoded once for all to whom they go.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    Request(ShardId, Request),
    Reply(ShardId, Reply),
    /// What does the copy hold at this record?
    AskContent(ShardId, Lsn),
    /// This, if it is known.
    Content(ShardId, Lsn, Option<Content>),
}

#[derive(Serialize)]
enum Borrowed<'a> {
    Request(&'a ShardId, &'a Request),
    Reply(&'a ShardId, &'a Reply),
}

/// Encodes the requests of one copy, and remembers the records that it encoded last: most go to several nodes.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    last: Option<(Hash, usize, Vec<u8>)>,
}

impl Encoder {
    /// Returns the frame of a request.
    pub(crate) fn request(
        &mut self,
        shard: &ShardId,
        mut request: Request,
    ) -> Result<Bytes, postcard::Error> {
        let records = match &mut request.ask {
            Ask::Append(append) => std::mem::take(&mut append.records),
            Ask::Fence | Ask::Fetch(_) | Ask::Snapshot(_) | Ask::Ping => Vec::new(),
        };
        let message = Borrowed::Request(shard, &request);
        let Some(last) = records.last() else {
            return frame(&message, &[]);
        };
        // The hash of the last record covers all before it.
        let (hash, count) = (last.hash, records.len());
        let is_known = |(of, many, _): &&(Hash, usize, Vec<u8>)| (*of, *many) == (hash, count);
        if let Some((_, _, bytes)) = self.last.as_ref().filter(is_known) {
            return frame(&message, bytes);
        }
        let bytes = postcard::to_stdvec(&records)?;
        let whole = frame(&message, &bytes);
        self.last = Some((hash, count, bytes));
        whole
    }
}

/// Returns the frame of a reply.
pub(super) fn reply(shard: &ShardId, mut reply: Reply) -> Result<Bytes, postcard::Error> {
    let records = match &mut reply.answer {
        Answer::Fetched { records, .. } => std::mem::take(records),
        _ => Vec::new(),
    };
    let tail = if records.is_empty() {
        Vec::new()
    } else {
        postcard::to_stdvec(&records)?
    };
    frame(&Borrowed::Reply(shard, &reply), &tail)
}

/// Returns the frame of a message without records.
pub(super) fn message(message: &Message) -> Result<Bytes, postcard::Error> {
    frame(message, &[])
}

/// Reads the body of a frame.
pub(super) fn decode(body: &[u8]) -> Result<Message, FrameError> {
    let (mut message, tail) = postcard::take_from_bytes::<Message>(body)?;
    if tail.is_empty() {
        return Ok(message);
    }
    let (records, rest) = postcard::take_from_bytes::<Vec<Arc<Record>>>(tail)?;
    let place = match &mut message {
        Message::Request(_, request) => match &mut request.ask {
            Ask::Append(append) => Some(&mut append.records),
            Ask::Fence | Ask::Fetch(_) | Ask::Snapshot(_) | Ask::Ping => None,
        },
        Message::Reply(_, reply) => match &mut reply.answer {
            Answer::Fetched { records, .. } => Some(records),
            _ => None,
        },
        Message::AskContent(..) | Message::Content(..) => None,
    };
    match place {
        Some(place) if rest.is_empty() && place.is_empty() => *place = records,
        _ => return Err(postcard::Error::DeserializeUnexpectedEnd.into()),
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shardwright_hashing::Position;
    use shardwright_topology::{ConfigId, Epoch, Lsn, ReplicaId};

    use super::*;
    use crate::log::{Append, Ballot, BatchMember, ClientId, Kind, Point, Stamp};

    fn records(count: usize) -> Vec<Arc<Record>> {
        let member = BatchMember {
            client: ClientId([7; 16]),
            sequence: 3,
            positions: vec![Position(u64::MAX)],
            outcome: vec![1, 2, 3],
        };
        let mut last = Point::default();
        let next = |_| {
            let record = Record::after(
                last,
                Epoch(4),
                Kind::Batch,
                vec![member.clone()],
                vec![9; 64],
            );
            last = record.point();
            Arc::new(record)
        };
        (0..count).map(next).collect()
    }

    fn request(ask: Ask) -> Request {
        Request {
            ballot: ballot(),
            stamp: Stamp::default(),
            lease: Duration::from_secs(1),
            ask,
        }
    }

    fn ballot() -> Ballot {
        Ballot {
            epoch: Epoch(4),
            config_id: ConfigId::from_bits(5),
        }
    }

    fn append(records: Vec<Arc<Record>>) -> Request {
        request(Ask::Append(Append {
            prev: Point::default(),
            records,
            commit: Lsn(2),
            trim: Lsn(1),
        }))
    }

    #[test]
    fn messages_are_read_as_they_were_written() {
        let shard = ShardId::numbered(1);
        let mut encoder = Encoder::default();
        for request in [
            append(records(3)),
            append(records(3)),
            append(records(2)),
            append(vec![]),
            request(Ask::Fence),
        ] {
            let frame = encoder.request(&shard, request.clone()).expect("a frame");
            let read = decode(&frame[5..]).expect("a message");
            assert_eq!(read, Message::Request(shard.clone(), request));
        }
        for records in [vec![], records(2)] {
            let prev = Point::default();
            let said = Reply {
                ballot: ballot(),
                stamp: Stamp::default(),
                lease: Duration::ZERO,
                replica_id: ReplicaId::from_bits(1),
                answer: Answer::Fetched { prev, records },
            };
            let frame = reply(&shard, said.clone()).expect("a frame");
            let read = decode(&frame[5..]).expect("a message");
            assert_eq!(read, Message::Reply(shard.clone(), said));
        }
    }

    #[test]
    fn questions_for_contents_are_read_as_they_were_written() {
        let (shard, lsn) = (ShardId::numbered(1), Lsn(9));
        let content = Content {
            replica_id: ReplicaId::from_bits(7),
            digest: [3; 32],
        };
        for said in [
            Message::AskContent(shard.clone(), lsn),
            Message::Content(shard.clone(), lsn, None),
            Message::Content(shard, lsn, Some(content)),
        ] {
            let frame = message(&said).expect("a frame");
            assert_eq!(decode(&frame[5..]).expect("a message"), said);
        }
    }

    #[test]
    fn records_behind_what_takes_none_are_refused() {
        let shard = ShardId::numbered(1);
        let tail = postcard::to_stdvec(&records(1)).expect("bytes");
        let ping = frame(&Message::Request(shard, request(Ask::Ping)), &tail).expect("a frame");
        assert!(decode(&ping[5..]).is_err());
        assert!(decode(&[0]).is_err());
    }
}
