//! Asking the servers of a parent for a zone's DS, over TCP: nobody beside the line can say in their place what would end a key too early.
//!
//! ```text
//!   [dnssec] parent ─▶ it speaks for the parent ──────────────────────────────────────────────▶ what it says
//!                  └─▶ a resolver ─▶ the zone above ─▶ its name servers ─▶ their addresses ─▶ each of them ─▶ what they say
//! ```

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::codec::code::rtype;
use crate::model::Name;
use crate::sign::parent::{self, Delegated, Heard, MOST_SERVERS, NoHelp};

/// How long a server has for one reply, from the first octet of a connection on.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where the servers of a parent listen that a resolver names.
const PORT: u16 = 53;

/// Why a server said nothing of use.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("it does not reply")]
    Slow,
    #[error(transparent)]
    NoHelp(#[from] NoHelp),
    #[error("it knows of no zone above")]
    NoParent,
    #[error("it knows no address of {0}")]
    NoAddress(Name),
}

/// What every server of the parent says of the DS of `apex`, each by its name. Who could not be asked is among them.
pub(super) async fn ask(servers: &[SocketAddr], apex: &Name) -> Vec<(String, Result<Delegated, String>)> {
    ask_at(servers, apex, PORT).await
}

/// The same with servers that a resolver names at another port.
pub(super) async fn ask_at(servers: &[SocketAddr], apex: &Name, port: u16) -> Vec<(String, Result<Delegated, String>)> {
    let each = servers.iter().map(|server| async move {
        match delegated(*server, apex).await {
            Ok(Heard::Parent(delegated)) => vec![(server.to_string(), Ok(delegated))],
            Ok(Heard::Resolver) => match through(*server, apex, port).await {
                Ok(said) => said,
                Err(error) => vec![(format!("the resolver {server}"), Err(error.to_string()))],
            },
            Err(error) => vec![(server.to_string(), Err(error.to_string()))],
        }
    });
    join_all(each).await.into_iter().flatten().collect()
}

/// Has a resolver say who speaks for the parent, and asks them all.
async fn through(resolver: SocketAddr, apex: &Name, port: u16) -> Result<Vec<(String, Result<Delegated, String>)>, AskError> {
    let mut above = apex.parent();
    let zone = loop {
        let Some(name) = above else { return Err(AskError::NoParent) };
        let (reply, id) = exchange(resolver, &name, rtype::SOA).await?;
        if parent::is_apex(&reply, id, &name)? {
            break name;
        }
        above = name.parent();
    };
    let (reply, id) = exchange(resolver, &zone, rtype::NS).await?;
    let mut servers = parent::servers_of(&reply, id, &zone)?;
    servers.truncate(MOST_SERVERS);
    Ok(join_all(servers.iter().map(|server| async move { (server.to_string(), of_server(resolver, server, apex, port).await) })).await)
}

/// What one name server of the parent says, at all of its addresses. One that cannot be reached is passed over where another can: whoever asks
/// for a DS gets no further than we do.
async fn of_server(resolver: SocketAddr, server: &Name, apex: &Name, port: u16) -> Result<Delegated, String> {
    let found = join_all([rtype::A, rtype::AAAA].map(|family| addresses(resolver, server, family))).await;
    let addresses = found.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?.concat();
    let mut failed = AskError::NoAddress(server.clone()).to_string();
    let mut all: Option<Delegated> = None;
    let said = join_all(addresses.iter().map(|ip| delegated(SocketAddr::new(*ip, port), apex))).await;
    for (ip, said) in addresses.iter().zip(said) {
        match said {
            Ok(Heard::Parent(delegated)) => match &mut all {
                None => all = Some(delegated),
                Some(before) if before.ds.iter().all(|ds| delegated.ds.contains(ds)) && before.ds.len() == delegated.ds.len() => {
                    before.ttl = before.ttl.max(delegated.ttl);
                }
                Some(_) => return Err("its addresses do not agree".into()),
            },
            Ok(Heard::Resolver) => return Err(format!("{ip} does not speak for the parent")),
            Err(AskError::NoHelp(why)) => return Err(format!("{ip}: {why}")),
            Err(error) => failed = format!("{ip}: {error}"),
        }
    }
    all.ok_or(failed)
}

async fn addresses(resolver: SocketAddr, server: &Name, family: u16) -> Result<Vec<IpAddr>, AskError> {
    let (reply, id) = exchange(resolver, server, family).await?;
    Ok(parent::addresses_of(&reply, id, server, family)?)
}

async fn delegated(server: SocketAddr, apex: &Name) -> Result<Heard, AskError> {
    let (reply, id) = exchange(server, apex, rtype::DS).await?;
    Ok(parent::heard(&reply, id, apex)?)
}

/// One question and its reply, with the id that it should have.
async fn exchange(server: SocketAddr, name: &Name, qtype: u16) -> Result<(Vec<u8>, u16), AskError> {
    let id = getrandom::u32().map_err(std::io::Error::from)? as u16;
    let question = parent::question(id, name, qtype);
    let exchange = async {
        let mut line = TcpStream::connect(server).await?;
        line.set_nodelay(true)?;
        // A question is far shorter than 65,535 octets.
        line.write_all(&[&(question.len() as u16).to_be_bytes()[..], &question].concat()).await?;
        let mut reply = vec![0; line.read_u16().await?.into()];
        line.read_exact(&mut reply).await?;
        Ok::<_, AskError>((reply, id))
    };
    timeout(PATIENCE, exchange).await.map_err(|_| AskError::Slow)?
}
