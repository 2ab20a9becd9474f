//! The begin of a connection: both sides prove that they have the token, over what both have said.
//!
//! ```text
//! dialler                                   listener
//!   Hello { from, to, purpose, nonce }  ->
//!                                       <-  Challenge { node, nonce, proof over both }
//!   Proof over both                     ->
//!                                       <-  Welcome
//! ```
//!
//! The proofs cover the ids of both nodes, the purpose and both random numbers: none can be used again, for another node, or by the
//! other side.

use hmac::{Hmac, KeyInit, Mac};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use shardwright_topology::{NodeId, ShardId};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    Token,
    frame::{FrameError, frame, read},
};

/// How many bytes one message of the begin may have.
const BYTES_MAX: usize = 1_024;

/// What a connection is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// Requests of the dialler, and their answers.
    Messages,
    /// One snapshot of a shard, for the dialler.
    Snapshot(ShardId),
}

#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    from: NodeId,
    to: NodeId,
    purpose: Purpose,
    nonce: [u8; 32],
}

#[derive(Debug, Serialize, Deserialize)]
struct Challenge {
    node: NodeId,
    nonce: [u8; 32],
    proof: [u8; 32],
}

#[derive(Debug, Serialize, Deserialize)]
struct Proof([u8; 32]);

#[derive(Debug, Serialize, Deserialize)]
struct Welcome;

/// Why a connection did not begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("the other side has another token")]
    Token,
    #[error("node {expected} was to be reached, and {found} answered")]
    OtherNode { expected: NodeId, found: NodeId },
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// A connection to a node that has proven the token.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) stream: TcpStream,
    pub(super) node: NodeId,
    pub(super) purpose: Purpose,
}

/// Begins a connection as the side that dialled.
pub(super) async fn greet(
    mut stream: TcpStream,
    token: Option<&Token>,
    from: NodeId,
    to: NodeId,
    purpose: Purpose,
) -> Result<Begun, HandshakeError> {
    let hello = Hello {
        from,
        to: to.clone(),
        purpose: purpose.clone(),
        nonce: nonce(),
    };
    say(&mut stream, &hello).await?;
    let challenge: Challenge = read(&mut stream, BYTES_MAX).await?;
    if challenge.node != to {
        return Err(HandshakeError::OtherNode {
            expected: to,
            found: challenge.node,
        });
    }
    let said = transcript(&hello, &challenge.node, &challenge.nonce)?;
    // The comparison takes as long whatever is wrong.
    mac(token, LISTENER, &said)
        .verify_slice(&challenge.proof)
        .map_err(|_| HandshakeError::Token)?;
    let proof = mac(token, DIALLER, &said).finalize().into_bytes();
    say(&mut stream, &Proof(proof.into())).await?;
    let _welcome: Welcome = read(&mut stream, BYTES_MAX)
        .await
        .map_err(|error| match error {
            FrameError::Closed => HandshakeError::Token,
            error => error.into(),
        })?;
    Ok(Begun {
        stream,
        node: to,
        purpose,
    })
}

/// Begins a connection as the side that listened.
pub(super) async fn receive(
    mut stream: TcpStream,
    token: Option<&Token>,
    me: NodeId,
) -> Result<Begun, HandshakeError> {
    let hello: Hello = read(&mut stream, BYTES_MAX).await?;
    let nonce = nonce();
    let said = transcript(&hello, &me, &nonce)?;
    let proof = mac(token, LISTENER, &said).finalize().into_bytes();
    let challenge = Challenge {
        node: me.clone(),
        nonce,
        proof: proof.into(),
    };
    say(&mut stream, &challenge).await?;
    let Proof(proof) = read(&mut stream, BYTES_MAX).await?;
    mac(token, DIALLER, &said)
        .verify_slice(&proof)
        .map_err(|_| HandshakeError::Token)?;
    if hello.to != me {
        return Err(HandshakeError::OtherNode {
            expected: hello.to,
            found: me,
        });
    }
    say(&mut stream, &Welcome).await?;
    Ok(Begun {
        stream,
        node: hello.from,
        purpose: hello.purpose,
    })
}

const DIALLER: &[u8] = b"shardwright log dialler";
const LISTENER: &[u8] = b"shardwright log listener";

fn nonce() -> [u8; 32] {
    let mut nonce = [0; 32];
    rand::rng().fill_bytes(&mut nonce);
    nonce
}

/// All that was said before the proofs, in an encoding that can be read in one way only.
fn transcript(hello: &Hello, node: &NodeId, nonce: &[u8; 32]) -> Result<Vec<u8>, FrameError> {
    Ok(postcard::to_stdvec(&(hello, node, nonce))?)
}

async fn say(
    writer: &mut (impl AsyncWrite + Unpin),
    value: &impl Serialize,
) -> Result<(), FrameError> {
    Ok(writer.write_all(&frame(value, &[])?).await?)
}

/// What one side computes over what both have said. Nodes without a token have an empty key: they are on loopback.
fn mac(token: Option<&Token>, side: &[u8], said: &[u8]) -> Hmac<Sha256> {
    let key = token.map(Token::secret).unwrap_or_default();
    let mut mac = Hmac::new_from_slice(key).expect("an HMAC takes keys of every length");
    mac.update(side);
    mac.update(said);
    mac
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).expect("a name")
    }

    /// Lets `a` dial what it takes for `to`, where `b` listens.
    async fn meet(
        tokens: [Option<&str>; 2],
        to: &str,
    ) -> (Result<Begun, HandshakeError>, Result<Begun, HandshakeError>) {
        let [dialler, listener] =
            tokens.map(|text| text.map(|text| Token::new(text).expect("a token")));
        let at = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let stream = TcpStream::connect(at.local_addr().expect("an address"))
            .await
            .expect("a connection");
        let (accepted, _) = at.accept().await.expect("a connection");
        tokio::join!(
            greet(
                stream,
                dialler.as_ref(),
                node("a"),
                node(to),
                Purpose::Messages
            ),
            receive(accepted, listener.as_ref(), node("b")),
        )
    }

    #[tokio::test]
    async fn both_sides_prove_the_token_and_who_they_are() {
        let (right, wrong) = (Some("correct-horse-battery"), Some("another-horse-battery"));
        for tokens in [[right, right], [None, None]] {
            let (dialled, accepted) = meet(tokens, "b").await;
            assert_eq!(dialled.expect("it begins").node, node("b"));
            assert_eq!(accepted.expect("it begins").node, node("a"));
        }
        for tokens in [[right, wrong], [wrong, right], [None, right], [right, None]] {
            let (dialled, accepted) = meet(tokens, "b").await;
            assert!(matches!(dialled, Err(HandshakeError::Token)), "{dialled:?}");
            assert!(accepted.is_err(), "{accepted:?}");
        }
        let (dialled, accepted) = meet([right, right], "c").await;
        assert!(
            matches!(dialled, Err(HandshakeError::OtherNode { .. })),
            "{dialled:?}"
        );
        assert!(accepted.is_err(), "{accepted:?}");
    }
}
