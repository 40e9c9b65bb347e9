//! A member that its own thread, its store's owner and its connections share.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::limits::CONFIRMING_PATIENCE_S;
use crate::member::Member;

/// A member behind a lock that nobody holds for long. Clones are the same member.
#[derive(Clone)]
pub struct SharedMember(Arc<Shared>);

struct Shared {
    member: Mutex<Member>,
    /// Somebody has done something with it.
    changed: Condvar,
}

impl SharedMember {
    /// Shares a member.
    pub fn new(member: Member) -> SharedMember {
        SharedMember(Arc::new(Shared {
            member: Mutex::new(member),
            changed: Condvar::new(),
        }))
    }

    /// Has something done with the member.
    ///
    /// # Panics
    /// Another thread panicked while it had it. What a replica believes then is not known, so nothing may go on from there.
    pub fn with<T>(&self, act: impl FnOnce(&mut Member) -> T) -> T {
        let outcome = act(&mut self.lock());
        self.0.changed.notify_all();
        outcome
    }

    /// Looks at the member, which changes nothing that anybody waits for.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Member) -> T) -> T {
        look(&mut self.lock())
    }

    /// The same, when no thread panicked with the member.
    pub(crate) fn with_unharmed(&self, act: impl FnOnce(&mut Member)) {
        if let Ok(mut member) = self.0.member.lock() {
            act(&mut member);
        }
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Member> {
        self.0.member.lock().expect("no thread panicked with the member")
    }

    /// Waits until something is found out, asking again whenever something was done with the member; nothing when that takes longer than
    /// the patience.
    pub(crate) fn wait<T>(&self, patience: Duration, mut find: impl FnMut(&mut Member) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut member = self.lock();
        loop {
            if let Some(found) = find(&mut member) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let waited = self.0.changed.wait_timeout(member, left);
            (member, _) = waited.expect("no thread panicked with the member");
        }
    }

    /// Makes sure that this member still serves in a term: true only when it did at some moment after the call. Asks a quorum, and waits
    /// for the answer, 5 s at most; somebody else has to feed the member meanwhile.
    pub fn confirm(&self, term: u64) -> bool {
        let asked = self.with(|member| {
            let serves = member.hands.serving == Some(term);
            serves.then(|| member.confirm().ok()).flatten()
        });
        let Some(ticket) = asked else { return false };
        let patience = Duration::from_secs(CONFIRMING_PATIENCE_S);
        let answer = self.wait(patience, |member| member.confirmation(ticket));
        if answer.is_none() {
            self.look(|member| member.forget_confirmation(ticket));
        }
        answer == Some(true)
    }
}
