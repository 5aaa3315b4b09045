//! The file behind the embedded store, and the thread that owns it.
//!
//! One thread takes commits in the order in which they come. Those that wait while the disk is busy go into one transaction of the
//! file together (group commit): each is still atomic by itself, its conditions are checked one after the other, and one that meets
//! another state fails alone. Nobody is answered before the transaction is on disk.

use std::sync::mpsc::{Receiver, TryRecvError};

use redb::{
    Database, DatabaseError, Durability, ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    StorageError, TableDefinition, WriteTransaction,
};
use tokio::sync::{broadcast, oneshot};

use super::{CommitError, Condition, Item, Key, KeyEvent, Operation, StoreId, Unavailable};
use crate::model::Revision;

/// Key → the revision at which it was written, and its value.
const ITEMS: TableDefinition<&str, (u64, &[u8])> = TableDefinition::new("items");
/// `format`, `id` and `revision` of the whole.
const FACTS: TableDefinition<&str, u64> = TableDefinition::new("facts");
/// The form of what is in the file; a later one is refused.
const FORMAT: u64 = 1;
/// Most operations that go into one transaction of the file: bounds the time until the first of them is answered.
const MAX_GROUP: usize = 4096;

/// Why a store cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("another signpost uses {0}; give each its own data_dir")]
    InUse(String),
    /// What is in the file makes no sense.
    #[error("{0} is damaged: {1}; restore it from a backup, or move it away to begin with an empty registry")]
    Damaged(String, String),
    /// A later version wrote it.
    #[error("{0} was written by a later version (format {1}; this one reads {FORMAT})")]
    Later(String, u64),
    /// The file or its folder cannot be used.
    #[error("{0} cannot be opened: {1}")]
    Io(String, String),
}

/// What the thread is asked.
pub(super) enum Request {
    /// See [`super::Store::commit`].
    Commit(Commit),
    /// See [`super::Store::read`].
    Read(Key, oneshot::Sender<Result<State, Unavailable>>),
    /// See [`super::Engine::halves`].
    Halves(oneshot::Sender<Result<Whole, Unavailable>>),
}

/// Identity, revision and the items of a store, still to be read.
pub(super) type Whole = (StoreId, Revision, [Half; 2]);

/// Half of the items of a store, as of one revision.
pub struct Half {
    items: ReadOnlyTable<&'static str, (u64, &'static [u8])>,
    count: usize,
    backward: bool,
}

impl Half {
    /// Reads its items, beginning at its end of all keys: the first half in their order, the second one backwards.
    pub fn each(self, mut take: impl FnMut(&str, Revision, &[u8])) -> Result<(), Unavailable> {
        let unavailable = |error: StorageError| Unavailable(error.to_string());
        let mut items = self.items.range::<&str>(..).map_err(unavailable)?;
        for _ in 0..self.count {
            let next = if self.backward { items.next_back() } else { items.next() };
            let Some(item) = next else { break };
            let (key, value) = item.map_err(unavailable)?;
            let (revision, value) = value.value();
            take(key.value(), Revision(revision), value);
        }
        Ok(())
    }
}

/// Operations, and where the outcome goes.
pub(super) type Commit = (Vec<Operation>, oneshot::Sender<Result<Revision, CommitError>>);

/// Identity, revision and items of a store.
pub(super) type State = (StoreId, Revision, Vec<Item>);

/// One commit, for those who follow.
#[derive(Debug)]
pub(super) struct Committed {
    pub revision: Revision,
    /// `None`: it turned up when the file was opened again; what it changed has to be read.
    pub events: Option<Vec<KeyEvent>>,
}

/// Opens the file; called again when a transaction has failed.
pub(super) type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

/// The file, open.
pub(super) struct Ledger {
    opener: Opener,
    /// `None` after a failure, until it was opened again.
    database: Option<Database>,
    id: StoreId,
    revision: Revision,
    followers: broadcast::Sender<std::sync::Arc<Committed>>,
}

fn unopened(path: &str, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(path.into()),
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() != std::io::ErrorKind::InvalidData => {
            OpenError::Io(path.into(), error.to_string())
        }
        other => OpenError::Damaged(path.into(), other.to_string()),
    }
}

/// What a file holds under a prefix, as the last who had it left it; nothing of it is changed.
pub(super) fn peek(path: &std::path::Path, prefix: &str) -> Result<Vec<Item>, OpenError> {
    let shown = path.display().to_string();
    let database = ReadOnlyDatabase::open(path).map_err(|error| unopened(&shown, error))?;
    let read = || -> Result<Vec<Item>, redb::Error> {
        let items = database.begin_read()?.open_table(ITEMS)?;
        let mut found = Vec::new();
        for item in items.range(prefix..)? {
            let (key, value) = item?;
            if !key.value().starts_with(prefix) {
                break;
            }
            let (revision, value) = value.value();
            found.push(Item { key: key.value().into(), value: value.into(), revision: Revision(revision) });
        }
        Ok(found)
    };
    read().map_err(|error| OpenError::Damaged(shown.clone(), error.to_string()))
}

impl Ledger {
    /// Opens the file and reads what it is, or makes it. `id` is the identity of a new one.
    pub(super) fn open(
        path: String,
        opener: Opener,
        id: StoreId,
        followers: broadcast::Sender<std::sync::Arc<Committed>>,
    ) -> Result<Ledger, OpenError> {
        let database = opener().map_err(|error| unopened(&path, error))?;
        let facts = begin_facts(&database, id).map_err(|error| OpenError::Damaged(path.clone(), error.to_string()))?;
        match facts {
            (FORMAT, id, revision) => {
                Ok(Ledger { opener, database: Some(database), id: StoreId(id), revision: Revision(revision), followers })
            }
            (other, ..) => Err(OpenError::Later(path, other)),
        }
    }

    /// Serves requests until nobody can make any.
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        let mut next = requests.recv().ok();
        while let Some(request) = next.take() {
            match request {
                Request::Read(prefix, reply) => _ = reply.send(self.read(&prefix)),
                Request::Halves(reply) => _ = reply.send(self.halves()),
                Request::Commit(first) => {
                    let mut count = first.0.len();
                    let mut group = vec![first];
                    while count < MAX_GROUP {
                        match requests.try_recv() {
                            Ok(Request::Commit(commit)) => {
                                count += commit.0.len();
                                group.push(commit);
                            }
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                        }
                    }
                    self.commit(group);
                }
            }
            if next.is_none() {
                next = requests.recv().ok();
            }
        }
    }

    /// Makes a group of commits durable with one transaction, and answers them.
    fn commit(&mut self, group: Vec<Commit>) {
        let mut outcomes = Vec::with_capacity(group.len());
        // Where it has to be opened again, a write may be found there whose fate nobody knew: the next revision is the one after it.
        let opened = self.open_again().map(drop);
        let mut revision = self.revision;
        let write = |transaction: &WriteTransaction| {
            let mut items = transaction.open_table(ITEMS)?;
            for (operations, _) in &group {
                if let Some(conflict) = conflict(&items, operations)? {
                    outcomes.push(Err(conflict));
                    continue;
                }
                revision.0 += 1;
                for operation in operations {
                    match operation {
                        Operation::Put { key, value, .. } => _ = items.insert(&**key, (revision.0, &**value))?,
                        Operation::Delete { key, .. } => _ = items.remove(&**key)?,
                    }
                }
                outcomes.push(Ok(revision));
            }
            transaction.open_table(FACTS)?.insert("revision", revision.0)?;
            Ok(())
        };
        match opened.and_then(|()| self.transact(write)) {
            Ok(()) => self.revision = revision,
            Err(error) => outcomes = vec![Err(error); group.len()],
        }
        for ((operations, reply), outcome) in group.into_iter().zip(outcomes) {
            if let Ok(revision) = outcome {
                self.tell(revision, || Some(operations.into_iter().map(|operation| event(operation, revision)).collect()));
            }
            // Whoever asked may have gone; the commit stands.
            _ = reply.send(outcome);
        }
    }

    /// Runs `write` in a transaction and brings it to disk. A file that failed is opened again the next time.
    fn transact(&mut self, write: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>) -> Result<(), CommitError> {
        let unavailable = |error: redb::Error| CommitError::Unavailable(error.to_string());
        let transaction = begin(self.open_again()?).map_err(unavailable).and_then(|transaction| {
            write(&transaction).map_err(unavailable)?;
            Ok(transaction)
        });
        let outcome = transaction.and_then(|transaction| {
            transaction.commit().map_err(|error| {
                // The caller only learns that nobody knows; whoever reads the log learns why, such as a full disk.
                tracing::error!(%error, "a transaction could not be brought to disk");
                CommitError::Unknown
            })
        });
        if outcome.is_err() {
            self.database = None;
        }
        outcome
    }

    /// Tells those who follow, if there are any.
    fn tell(&self, revision: Revision, events: impl FnOnce() -> Option<Vec<KeyEvent>>) {
        if self.followers.receiver_count() > 0 {
            // An error: nobody follows any more.
            _ = self.followers.send(std::sync::Arc::new(Committed { revision, events: events() }));
        }
    }

    /// The open file.
    fn open_again(&mut self) -> Result<&Database, CommitError> {
        if self.database.is_none() {
            let unavailable = |error: String| CommitError::Unavailable(format!("it cannot be opened again: {error}"));
            let database = (self.opener)().map_err(|error| unavailable(error.to_string()))?;
            let (_, id, revision) = begin_facts(&database, self.id).map_err(|error| unavailable(error.to_string()))?;
            if id != self.id.0 {
                return Err(unavailable("another store is in its place".into()));
            }
            if std::mem::replace(&mut self.revision, Revision(revision)) != Revision(revision) {
                // A write whose fate nobody knew was made, and nobody who follows has heard of it.
                self.tell(self.revision, || None);
            }
            self.database = Some(database);
        }
        self.database.as_ref().ok_or_else(|| CommitError::Unavailable("it is closed".into()))
    }

    /// Everything, to be read by others while this goes on.
    fn halves(&mut self) -> Result<Whole, Unavailable> {
        let database = self.open_again().map_err(|error| Unavailable(error.to_string()))?;
        match open_halves(database) {
            Ok(halves) => Ok((self.id, self.revision, halves)),
            Err(error) => {
                self.database = None;
                Err(Unavailable(error.to_string()))
            }
        }
    }

    /// Everything under a prefix.
    fn read(&mut self, prefix: &str) -> Result<State, Unavailable> {
        let database = self.open_again().map_err(|error| Unavailable(error.to_string()))?;
        match read_items(database, prefix) {
            Ok(items) => Ok((self.id, self.revision, items)),
            Err(error) => {
                // After a failure an open file fails for ever: without this, only the next commit would open it again.
                self.database = None;
                Err(Unavailable(error.to_string()))
            }
        }
    }
}

/// Begins a transaction that is on disk when its commit returns, and after which the file opens at once even if the process is
/// killed: the allocator's state is written with it, so that nothing has to be walked.
fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Format, identity and revision; written down first where the file is new.
fn begin_facts(database: &Database, id: StoreId) -> Result<(u64, u64, u64), redb::Error> {
    let transaction = begin(database)?;
    let known = {
        let facts = transaction.open_table(FACTS)?;
        let fact = |name| facts.get(name).map(|found| found.map(|guard| guard.value()));
        fact("format")?.zip(fact("id")?).zip(fact("revision")?)
    };
    if let Some(((format, id), revision)) = known {
        transaction.abort()?;
        return Ok((format, id, revision));
    }
    {
        let mut facts = transaction.open_table(FACTS)?;
        facts.insert("format", FORMAT)?;
        facts.insert("id", id.0)?;
        facts.insert("revision", 0)?;
        transaction.open_table(ITEMS)?;
    }
    transaction.commit()?;
    Ok((FORMAT, id.0, 0))
}

fn open_halves(database: &Database) -> Result<[Half; 2], redb::Error> {
    let transaction = database.begin_read()?;
    let count = usize::try_from(transaction.open_table(ITEMS)?.len()?).unwrap_or(usize::MAX);
    let first = Half { items: transaction.open_table(ITEMS)?, count: count / 2, backward: false };
    let second = Half { items: transaction.open_table(ITEMS)?, count: count - count / 2, backward: true };
    Ok([first, second])
}

fn read_items(database: &Database, prefix: &str) -> Result<Vec<Item>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(ITEMS)?;
    let mut items = Vec::new();
    for entry in table.range(prefix..)? {
        let (key, value) = entry?;
        if !key.value().starts_with(prefix) {
            break;
        }
        let (revision, value) = value.value();
        items.push(Item { key: key.value().into(), value: value.into(), revision: Revision(revision) });
    }
    Ok(items)
}

/// The first condition that does not hold. All are held against the state before the commit.
fn conflict(
    items: &redb::Table<'_, &'static str, (u64, &'static [u8])>,
    operations: &[Operation],
) -> Result<Option<CommitError>, redb::Error> {
    for (number, operation) in operations.iter().enumerate() {
        let (key, condition) = match operation {
            Operation::Put { key, condition, .. } | Operation::Delete { key, condition } => (key, *condition),
        };
        let now = items.get(&**key)?.map(|found| Revision(found.value().0));
        let holds = match condition {
            Condition::Absent => now.is_none(),
            Condition::At(revision) => now == Some(revision),
        };
        if !holds {
            return Ok(Some(CommitError::Conflict { operation: number, now }));
        }
    }
    Ok(None)
}

fn event(operation: Operation, revision: Revision) -> KeyEvent {
    match operation {
        Operation::Put { key, value, .. } => KeyEvent { item: Some(Item { key: key.clone(), value, revision }), key },
        Operation::Delete { key, .. } => KeyEvent { key, item: None },
    }
}
