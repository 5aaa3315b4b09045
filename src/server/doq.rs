//! DNS over QUIC (RFC 9250): a stream for each query, so that none waits for another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::{Connection, RecvStream, SendStream, VarInt};

use super::Answer;
use super::connections::Place;
use super::room::{Excess, Room};
use super::tcp::{LARGEST_MESSAGE, Served};
use crate::codec::{Header, Keepalive, NameBuf, Request};

/// Its name in TLS (RFC 9250 §4.1.1).
pub(super) const PROTOCOL: &[u8] = b"doq";

/// Octets that a stream gives at once.
const PIECE: usize = 4096;

/// Why a stream or a connection ends (RFC 9250 §8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Code {
    /// Nothing is wrong.
    NoError = 0,
    /// The client broke the protocol.
    Protocol = 2,
    /// The client does not want the answer any more.
    Cancelled = 3,
    /// A query did not come in time, or too many large ones did at once.
    ExcessiveLoad = 4,
}

impl From<Code> for VarInt {
    fn from(code: Code) -> VarInt {
        VarInt::from_u32(code as u32)
    }
}

/// What the client did that no client may do: it ends the connection (RFC 9250 §4.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Breach {
    /// The stream ended within the message or its length.
    #[error("the stream ends within a message")]
    Short,
    /// Octets behind the message.
    #[error("more than one message on a stream")]
    Long,
    /// The id of the message is not 0 (§4.2.1).
    #[error("the message id is not 0")]
    Id,
    /// A keepalive option (§5.5.2): QUIC has a timeout of its own.
    #[error("edns-tcp-keepalive over QUIC")]
    Keepalive,
    /// A response, or less than a header.
    #[error("not a query")]
    NoQuery,
}

/// One connection, from the handshake to its end.
pub(super) async fn serve<A: Answer>(connection: Connection, served: Arc<Served<A>>, patience: Duration, place: Place) {
    let (place, room) = (Arc::new(place), Room::new());
    loop {
        let stream = tokio::select! {
            () = place.told_to_go() => return connection.close(Code::NoError.into(), b"idle"),
            stream = connection.accept_bi() => stream,
        };
        let (send, receive) = match stream {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(peer = %connection.remote_address(), %error, "QUIC connection ended");
                return;
            }
        };
        let (connection, served, place, room) = (connection.clone(), served.clone(), place.clone(), room.clone());
        tokio::spawn(async move {
            if let Err(breach) = answer(&connection, send, receive, &served, patience, &place, &room).await {
                connection.close(Code::Protocol.into(), breach.to_string().as_bytes());
            }
        });
    }
}

/// Answers the query of one stream.
async fn answer<A: Answer>(
    connection: &Connection,
    mut send: SendStream,
    mut receive: RecvStream,
    served: &Served<A>,
    patience: Duration,
    place: &Place,
    room: &Room,
) -> Result<(), Breach> {
    let mut framed = room.gather(2 + LARGEST_MESSAGE);
    let gathered = tokio::time::timeout(patience, async {
        // RFC 9250 §4.2: the end of the stream says that this is all.
        while let Some(piece) = receive.read_chunk(PIECE, true).await? {
            if let Err(excess) = framed.push(piece.bytes) {
                return Ok(Err(excess));
            }
        }
        Ok::<_, quinn::ReadError>(Ok(()))
    });
    let query = match gathered.await {
        Ok(Ok(Ok(()))) => message(framed.all()),
        Ok(Ok(Err(Excess::Query))) => Err(Breach::Long),
        // RFC 9250 §4.3.1: the client thought better of it, or is gone.
        Ok(Err(_)) => {
            let _ = send.reset(Code::Cancelled.into());
            return Ok(());
        }
        Ok(Ok(Err(Excess::Connection))) | Err(_) => {
            let _ = receive.stop(Code::ExcessiveLoad.into());
            let _ = send.reset(Code::ExcessiveLoad.into());
            return Ok(());
        }
    };
    // Where the client is now: it may have moved (RFC 9000 §9).
    let peer = connection.remote_address();
    let answered = match query {
        Ok(query) => room.answer(served.answer_one(query, peer)).await.ok_or(Breach::NoQuery),
        Err(breach) => Err(breach),
    };
    let (reply, _room) = match answered {
        Ok(answered) => answered,
        Err(breach) => {
            // Left alone it would end as if that were the answer.
            let _ = send.reset(Code::Protocol.into());
            return Err(breach);
        }
    };
    place.touch(Instant::now());
    let framed = [&(reply.len() as u16).to_be_bytes()[..], &reply].concat();
    if send.write_all(&framed).await.is_ok() {
        let _ = send.finish();
    } else {
        let _ = send.reset(Code::Cancelled.into());
    }
    Ok(())
}

/// The query of a stream, which holds nothing else (RFC 9250 §4.2).
fn message(framed: &[u8]) -> Result<&[u8], Breach> {
    let (length, message) = framed.split_first_chunk::<2>().ok_or(Breach::Short)?;
    match message.len().cmp(&usize::from(u16::from_be_bytes(*length))) {
        std::cmp::Ordering::Less => return Err(Breach::Short),
        std::cmp::Ordering::Greater => return Err(Breach::Long),
        std::cmp::Ordering::Equal => {}
    }
    let header = Header::parse(message).ok_or(Breach::NoQuery)?;
    if header.id != 0 {
        return Err(Breach::Id);
    }
    let mut name = NameBuf::default();
    let request = Request::parse(header, message, &mut name);
    match request.edns.is_some_and(|edns| edns.keepalive != Keepalive::Absent) {
        true => Err(Breach::Keepalive),
        false => Ok(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_holds_one_query_with_id_zero_and_nothing_else() {
        let header = |id: u8, additional: u8| [0, id, 0, 0, 0, 1, 0, 0, 0, 0, 0, additional];
        let question = b"\x03www\x07example\0\0\x01\0\x01";
        let plain = [&header(0, 0)[..], question].concat();
        let opt = |options: &[u8]| {
            let length = options.len() as u8;
            [&header(0, 1)[..], question, b"\0\0\x29\x04\xd0\0\0\0\0\0", &[length], options].concat()
        };
        let framed = |message: &[u8]| [&(message.len() as u16).to_be_bytes()[..], message].concat();
        let cases = [
            (framed(&plain), Ok(())),
            (framed(&opt(&[])), Ok(())),
            (framed(&opt(&[0, 12, 0, 1, 0])), Ok(())),
            (framed(&header(0, 0)), Ok(())),
            (vec![], Err(Breach::Short)),
            (vec![0], Err(Breach::Short)),
            (framed(&plain)[..20].to_vec(), Err(Breach::Short)),
            ([framed(&plain), vec![0]].concat(), Err(Breach::Long)),
            (framed(&plain).repeat(2), Err(Breach::Long)),
            (framed(&[]), Err(Breach::NoQuery)),
            (framed(&[0; 11]), Err(Breach::NoQuery)),
            (framed(&[&header(1, 0)[..], question].concat()), Err(Breach::Id)),
            (framed(&opt(&[0, 11, 0, 0])), Err(Breach::Keepalive)),
            (framed(&opt(&[0, 11, 0, 2, 0, 100])), Err(Breach::Keepalive)),
        ];
        for (stream, expected) in cases {
            assert_eq!(message(&stream).map(drop), expected, "{stream:?}");
        }
    }
}
