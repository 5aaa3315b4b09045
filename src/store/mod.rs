//! Floor 3: what is written down. One trait, and an engine that keeps everything in one file on this machine.
//!
//! The engines run on threads of their own; nothing on the DNS path waits for them.

// Unlike the other floors below the shells, a store does IO: it reads files, draws the identity of a new store, and tells the time at
// which it was last heard of.
#![allow(clippy::disallowed_methods)]

mod embedded;
mod ledger;

use std::fmt;
use std::sync::Arc;

use futures_util::stream::BoxStream;

pub use embedded::Embedded;
pub use ledger::{Half, OpenError};

use crate::model::Revision;

/// A key: `/`-separated, such as `instances/web/eu1`.
pub type Key = Arc<str>;
/// A value: JSON.
pub type Value = Arc<[u8]>;

/// Identity of a store's content: a store made anew has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub u64);

/// What a key must be for an operation to go ahead. There is deliberately no "any": every write is compare-and-put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// There is no such key.
    Absent,
    /// The key was last written at this revision.
    At(Revision),
}

/// One part of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Write a value.
    Put {
        /// The key.
        key: Key,
        /// The value.
        value: Value,
        /// What the key must be.
        condition: Condition,
    },
    /// Remove a key.
    Delete {
        /// The key.
        key: Key,
        /// What the key must be.
        condition: Condition,
    },
}

impl Operation {
    /// The key that it is about.
    pub fn key(&self) -> &Key {
        match self {
            Operation::Put { key, .. } | Operation::Delete { key, .. } => key,
        }
    }
}

/// A key, its value and when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Value,
    /// When it was written.
    pub revision: Revision,
}

/// Why a commit was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A condition did not hold.
    #[error("operation {operation} met another state: {now:?}")]
    Conflict {
        /// Index of the operation.
        operation: usize,
        /// What the key is now.
        now: Option<Revision>,
    },
    /// It may or may not have been made, and may still be.
    #[error("the store did not say whether the write was made")]
    Unknown,
    /// It was not made.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// More than [`MOST_OPERATIONS`] operations.
    #[error("a commit holds at most {MOST_OPERATIONS} operations")]
    TooLarge,
}

/// The store could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store is unavailable: {0}")]
pub struct Unavailable(pub String);

/// Operations up to which changes that need not be one commit are put into one.
pub const MAX_OPERATIONS: usize = 128;
/// Most operations of one commit: of a change that is all or nothing.
pub const MOST_OPERATIONS: usize = 8_192;

/// A key that changed; `item` is `None` when it was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEvent {
    /// The key.
    pub key: Key,
    /// Its new value.
    pub item: Option<Item>,
}

/// What a follower is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feed {
    /// The state at a revision, in parts; `last` marks the final part.
    Snapshot {
        /// The store's identity.
        id: StoreId,
        /// The revision of the whole.
        revision: Revision,
        /// A part of it.
        items: Vec<Item>,
        /// Whether this is the final part.
        last: bool,
    },
    /// Changes since.
    Changes {
        /// The revision they lead to.
        revision: Revision,
        /// What changed.
        events: Vec<KeyEvent>,
    },
    /// The follower has seen everything up to this revision.
    Fresh {
        /// The revision.
        revision: Revision,
    },
    /// The store has not been heard of for a while.
    Stale {
        /// Milliseconds since the Unix epoch.
        since: u64,
    },
}

/// A store of keys and values with one line of revisions.
pub trait Store {
    /// Makes all of `operations` durable, or none.
    fn commit(&self, operations: Vec<Operation>) -> impl Future<Output = Result<Revision, CommitError>> + Send;
    /// Everything under `prefix`, ordered by key. `linear`: as of now, not of a moment ago.
    fn read(&self, prefix: &Key, linear: bool) -> impl Future<Output = Result<(StoreId, Revision, Vec<Item>), Unavailable>> + Send;
    /// The state under `prefix`, then every change to it. Never ends.
    fn follow(&self, prefix: Key, from: Option<(StoreId, Revision)>) -> BoxStream<'static, Feed>;
}

/// The engine that the config chooses.
#[derive(Debug, Clone)]
pub enum Engine {
    /// One file on this machine.
    Embedded(Embedded),
}

impl Engine {
    /// Everything as of one revision, in two halves that may be read at the same time: for a start, which has to take in millions of
    /// items and wants none of them copied. All keys of the first half go before those of the second.
    pub async fn halves(&self) -> Result<(StoreId, Revision, [Half; 2]), Unavailable> {
        match self {
            Engine::Embedded(store) => store.halves().await,
        }
    }
}

impl Store for Engine {
    async fn commit(&self, operations: Vec<Operation>) -> Result<Revision, CommitError> {
        match self {
            Engine::Embedded(store) => store.commit(operations).await,
        }
    }

    async fn read(&self, prefix: &Key, linear: bool) -> Result<(StoreId, Revision, Vec<Item>), Unavailable> {
        match self {
            Engine::Embedded(store) => store.read(prefix, linear).await,
        }
    }

    fn follow(&self, prefix: Key, from: Option<(StoreId, Revision)>) -> BoxStream<'static, Feed> {
        match self {
            Engine::Embedded(store) => store.follow(prefix, from),
        }
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
pub(crate) mod tests;
