//! The embedded store: one file on this machine, durable before it answers.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, oneshot};

use super::ledger::{Committed, Ledger, OpenError, Opener, Request, State, Whole};
use super::{CommitError, Feed, Item, Key, MOST_OPERATIONS, Operation, Store, StoreId, Unavailable};
use crate::model::Revision;

/// The file within the data directory.
const FILE: &str = "store.redb";
/// Memory for pages of the file; what is read often lives in the registry.
const CACHE: usize = 32 << 20;
/// Commits that a follower may be behind before it is given the whole state again.
const FOLLOWER: usize = 1024;
/// Most items of one part of a [`Feed::Snapshot`].
const PART: usize = 1000;
/// How long a follower waits before it asks a store again that could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// The embedded store. Clones share it; the file is closed when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Embedded(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None` only while it is dropped.
    requests: Mutex<Option<Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    commits: broadcast::WeakSender<Arc<Committed>>,
}

impl Embedded {
    /// Opens the store in a directory, which is made where it does not exist.
    pub fn open(directory: &Path) -> Result<Embedded, OpenError> {
        let path = directory.join(FILE);
        std::fs::create_dir_all(directory).map_err(|error| OpenError::Io(directory.display().to_string(), error.to_string()))?;
        let file = path.clone();
        Embedded::start(&path, Box::new(move || Database::builder().set_cache_size(CACHE).create_file(open(&file)?)))
    }

    /// What the store in a directory holds under a prefix, without opening it for anybody; nothing where there is none.
    ///
    /// # Errors
    /// As of [`Embedded::open`]; also where whoever had it last ended without a word, and it has to be opened to be made good.
    pub fn peek(directory: &Path, prefix: &str) -> Result<Vec<Item>, OpenError> {
        let path = directory.join(FILE);
        match path.exists() {
            true => super::ledger::peek(&path, prefix),
            false => Ok(Vec::new()),
        }
    }

    /// A store that is gone with the process: for tests.
    pub fn in_memory() -> Result<Embedded, OpenError> {
        let memory = Shared(Arc::new(InMemoryBackend::new()));
        Embedded::start(Path::new("memory"), Box::new(move || Database::builder().create_with_backend(memory.clone())))
    }

    pub(super) fn start(path: &Path, opener: Opener) -> Result<Embedded, OpenError> {
        let mut id = [0; 8];
        getrandom::fill(&mut id)
            .map_err(|error| OpenError::Io(path.display().to_string(), format!("no identity can be drawn: {error}")))?;
        let (requests, receiver) = channel();
        let (commits, _) = broadcast::channel(FOLLOWER);
        let weak = commits.downgrade();
        let (opened, result) = channel();
        let path = path.display().to_string();
        let damaged = OpenError::Damaged(path.clone(), "it cannot be read".into());
        let (file, id) = (path.clone(), StoreId(u64::from_le_bytes(id)));
        // Opened on the thread: what a damaged file might do to it ends the thread, not the process.
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || match Ledger::open(file, opener, id, commits) {
                Ok(ledger) => {
                    _ = opened.send(Ok(()));
                    ledger.run(&receiver);
                }
                Err(error) => _ = opened.send(Err(error)),
            })
            .map_err(|error| OpenError::Io(path, error.to_string()))?;
        result.recv().unwrap_or(Err(damaged))?;
        Ok(Embedded(Arc::new(Inner { requests: Mutex::new(Some(requests)), thread: Mutex::new(Some(thread)), commits: weak })))
    }
}

impl Embedded {
    /// See [`super::Engine::halves`].
    pub(super) async fn halves(&self) -> Result<Whole, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.0.ask(Request::Halves(reply))?;
        answer.await.unwrap_or_else(|_| Err(Unavailable("its thread has ended".into())))
    }
}

impl Store for Embedded {
    async fn commit(&self, operations: Vec<Operation>) -> Result<Revision, CommitError> {
        if operations.len() > MOST_OPERATIONS {
            return Err(CommitError::TooLarge);
        }
        let (reply, answer) = oneshot::channel();
        self.0.ask(Request::Commit((operations, reply))).map_err(|error| CommitError::Unavailable(error.0))?;
        // The thread ended between the question and the answer.
        answer.await.unwrap_or(Err(CommitError::Unknown))
    }

    async fn read(&self, prefix: &Key, _linear: bool) -> Result<State, Unavailable> {
        self.0.read(prefix).await
    }

    fn follow(&self, prefix: Key, from: Option<(StoreId, Revision)>) -> BoxStream<'static, Feed> {
        let commits = self.0.commits.upgrade().map(|sender| sender.subscribe());
        let follower =
            Follower { store: Arc::downgrade(&self.0), commits, prefix, seen: from, whole: false, stale: false, waiting: VecDeque::new() };
        unfold(follower, |mut follower| async move { Some((follower.next().await, follower)) }).boxed()
    }
}

impl Inner {
    fn ask(&self, request: Request) -> Result<(), Unavailable> {
        let gone = || Unavailable("its thread has ended".into());
        let requests = self.requests.lock().map_err(|_| gone())?;
        requests.as_ref().ok_or_else(gone)?.send(request).map_err(|_| gone())
    }

    async fn read(&self, prefix: &Key) -> Result<State, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Read(prefix.clone(), reply))?;
        answer.await.unwrap_or_else(|_| Err(Unavailable("its thread has ended".into())))
    }
}

impl Drop for Inner {
    /// Lets the thread finish what it was asked, and the file be closed.
    fn drop(&mut self) {
        if let Ok(requests) = self.requests.get_mut() {
            *requests = None;
        }
        if let Some(thread) = self.thread.get_mut().ok().and_then(Option::take) {
            // A thread that panicked has nothing left to finish.
            _ = thread.join();
        }
    }
}

/// One who follows: the whole state first, then commits; the whole again after falling behind.
struct Follower {
    store: Weak<Inner>,
    /// `None` once the store is gone.
    commits: Option<broadcast::Receiver<Arc<Committed>>>,
    prefix: Key,
    /// What the follower has seen.
    seen: Option<(StoreId, Revision)>,
    /// Whether it has the whole state up to `seen`.
    whole: bool,
    /// Whether it was told that the store is not heard of.
    stale: bool,
    waiting: VecDeque<Feed>,
}

impl Follower {
    async fn next(&mut self) -> Feed {
        loop {
            if let Some(feed) = self.waiting.pop_front() {
                return feed;
            }
            let Some(commits) = &mut self.commits else { return std::future::pending().await };
            if !self.whole {
                if self.stale {
                    tokio::time::sleep(RETRY).await;
                }
                self.read_whole().await;
                continue;
            }
            match commits.recv().await {
                Ok(committed) => self.take(&committed),
                Err(RecvError::Lagged(_)) => self.whole = false,
                Err(RecvError::Closed) => {
                    self.commits = None;
                    self.lose();
                }
            }
        }
    }

    /// Reads the state; commits from now on wait in the channel meanwhile.
    async fn read_whole(&mut self) {
        let Some(store) = self.store.upgrade() else {
            self.commits = None;
            return self.lose();
        };
        if let Some(commits) = &mut self.commits {
            *commits = commits.resubscribe();
        }
        let Ok((id, revision, items)) = store.read(&self.prefix).await else { return self.lose() };
        (self.whole, self.stale) = (true, false);
        if self.seen.replace((id, revision)) == Some((id, revision)) {
            return self.waiting.push_back(Feed::Fresh { revision });
        }
        let mut parts: Vec<Vec<Item>> = Vec::new();
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            parts.push(items.by_ref().take(PART).collect());
        }
        let last = parts.pop().unwrap_or_default();
        self.waiting.extend(parts.into_iter().map(|items| Feed::Snapshot { id, revision, items, last: false }));
        self.waiting.push_back(Feed::Snapshot { id, revision, items: last, last: true });
    }

    fn take(&mut self, committed: &Committed) {
        let revision = committed.revision;
        match &mut self.seen {
            Some((_, seen)) if *seen < revision => *seen = revision,
            _ => return,
        }
        let Some(events) = &committed.events else {
            self.whole = false;
            return;
        };
        let events: Vec<_> = events.iter().filter(|event| event.key.starts_with(&*self.prefix)).cloned().collect();
        self.waiting.push_back(match events.is_empty() {
            true => Feed::Fresh { revision },
            false => Feed::Changes { revision, events },
        });
    }

    fn lose(&mut self) {
        if std::mem::replace(&mut self.stale, true) {
            return;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.waiting.push_back(Feed::Stale { since: since.as_millis().try_into().unwrap_or(u64::MAX) });
    }
}

/// Opens the file, or makes it. Who stands where, and who changed it, is nothing that others on the machine need to read.
fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.open(path)
}

/// Memory that outlives the database on it, as a file does.
#[derive(Debug, Clone)]
struct Shared(Arc<InMemoryBackend>);

impl StorageBackend for Shared {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.0.write(offset, data)
    }
}
