//! The thread of a member in a server: ticks, what comes from others, finished jobs.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use seaway_replica::limits::TICK_MS;

use crate::folding::Folder;
use crate::inbox::{Inbox, Item};
use crate::log::{JournalLog, NotOpened};
use crate::member::{Driving, Member, Options};
use crate::network::Network;
use crate::news::News;
use crate::shared::SharedMember;

/// A member and the thread that feeds it: what waits comes first, then a tick when one is due, never two at once. A process that stood
/// still has not counted the time in which it could hear nobody.
pub struct MemberThread {
    member: SharedMember,
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
}

impl MemberThread {
    /// Starts a member over its log, with threads for its jobs. `inbox` is where connections bring what they hear, also before this.
    /// `tell` is called on the member's thread with what happened: it must not wait, nor use the member.
    ///
    /// # Errors
    /// See [`Member::start`].
    pub fn start(
        log: JournalLog,
        options: &Options,
        network: Box<dyn Network>,
        folder: Option<Arc<dyn Folder>>,
        inbox: Arc<Inbox>,
        tell: impl FnMut(News) + Send + 'static,
    ) -> Result<MemberThread, NotOpened> {
        let waker = Arc::clone(&inbox);
        let driving = Driving::Threads(Arc::new(move || waker.wake()));
        let member = SharedMember::new(Member::start(log, options, driving, network, folder)?);
        let thread = spawn(member.clone(), Arc::clone(&inbox), tell).map_err(NotOpened::Threads)?;
        Ok(MemberThread {
            member,
            inbox,
            thread: Some(thread),
        })
    }

    /// The member.
    pub fn member(&self) -> &SharedMember {
        &self.member
    }

    /// Where connections bring what they hear.
    pub fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// Ends the thread, writes what was appended, and lets go of the disk. Who is to hand its leadership over first is told by
    /// [`Member::leave`].
    ///
    /// # Errors
    /// What could not be written, in words.
    pub fn close(mut self) -> Result<(), String> {
        self.end();
        self.member.with(Member::close)
    }

    fn end(&mut self) {
        self.inbox.end();
        if let Some(thread) = self.thread.take() {
            // One that panicked has nothing left to tell.
            let _ = thread.join();
        }
    }
}

impl Drop for MemberThread {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn(
    member: SharedMember,
    inbox: Arc<Inbox>,
    tell: impl FnMut(News) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let mut tell = tell;
    let tick = Duration::from_millis(TICK_MS);
    let body = move || {
        let mut due = Instant::now() + tick;
        let mut news = member.with(Member::take_news);
        loop {
            if !news.is_empty() {
                tell(news);
            }
            let patience = due.saturating_duration_since(Instant::now());
            let Some(items) = inbox.take(patience) else { return };
            for item in items {
                // Others may use it between two.
                member.with(|member| serve(member, item));
            }
            news = member.with(|member| {
                member.drive();
                let now = Instant::now();
                if now >= due {
                    member.tick();
                    due = now + tick;
                }
                member.take_news()
            });
        }
    };
    std::thread::Builder::new().name("member".to_owned()).spawn(body)
}

fn serve(member: &mut Member, item: Item) {
    match item {
        Item::Frame(from, session, frame) => member.frame(from, session, &frame),
        Item::Connected(peer, session) => member.connected(peer, session),
        Item::Lost(peer, session) => member.lost(peer, session),
        Item::Errand(errand) => errand(member),
    }
}
