//! Where a server is in its life, for those who are asked while it starts, waits or stops. Written by the lives of the engine, read
//! by monitoring and administration, which reach the engine through it: every tenure has another one.

mod membership;

use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use seaway_store::Progress;
use tokio::sync::Notify;

use crate::archive::Reported;
use crate::engine::{Health, Inbox};
use membership::Role;
pub use membership::{Active, Membership};

/// A part of a server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is no tenure, and for a while none is asked for.
    Waiting,
    /// Another server of the group serves, or nobody yet; this one takes over when it has to.
    StandingBy,
    /// The state is read from the store; requests of clients wait.
    Recovering,
    /// The state is there, the services are being opened.
    Opening,
    /// Clients are served.
    Ready,
    /// What was accepted is brought to an end, nothing new is taken.
    Stopping,
}

/// The stage of the running server; clones show the same.
#[derive(Clone)]
pub struct Phase(Arc<RwLock<Condition>>);

struct Condition {
    stage: Stage,
    /// Why there is no tenure, in words.
    waiting: String,
    tenure: Option<u64>,
    progress: Arc<Progress>,
    /// From the end of the opening to the end of the tenure.
    engine: Option<(Arc<Inbox>, Health)>,
    /// In a fault-tolerance group.
    role: Option<Role>,
    /// Told when this server is asked to hand over.
    hand_over: Arc<Notify>,
}

impl Default for Phase {
    fn default() -> Phase {
        Phase::new(None)
    }
}

impl Phase {
    fn new(role: Option<Role>) -> Phase {
        Phase(Arc::new(RwLock::new(Condition {
            stage: Stage::Waiting,
            waiting: "no tenure was granted yet".to_owned(),
            tenure: None,
            progress: Arc::default(),
            engine: None,
            role,
            hand_over: Arc::default(),
        })))
    }

    /// The stages of a member, which is called `member`, of a fault-tolerance group.
    pub fn of_group(name: &str, member: &str) -> Phase {
        Phase::new(Some(Role::new(name, member)))
    }

    fn read(&self) -> RwLockReadGuard<'_, Condition> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Condition> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stage as of now.
    pub fn stage(&self) -> Stage {
        self.read().stage
    }

    /// The number of the tenure under which this server serves, or is about to.
    pub fn tenure(&self) -> Option<u64> {
        self.read().tenure
    }

    /// There is no tenure from now on; why, in words.
    pub(crate) fn wait(&self, reason: String) {
        let mut condition = self.write();
        condition.stage = Stage::Waiting;
        condition.waiting.clone_from(&reason);
        condition.tenure = None;
        condition.engine = None;
        condition.with_role(|role| role.rest(&reason));
    }

    /// This server stands by from now on, or goes on to; who serves meanwhile, as far as that is known.
    pub(crate) fn stand_by(&self, active: Option<Active>) {
        let mut condition = self.write();
        condition.stage = Stage::StandingBy;
        condition.with_role(|role| role.stand_by(active));
    }

    /// A tenure was granted, for this reason; [`Phase::recover`] follows.
    pub(crate) fn take_over(&self, reason: &str) {
        self.write().with_role(|role| role.take_over(reason));
    }

    /// The part in a fault-tolerance group, if this server is in one.
    pub fn membership(&self) -> Option<Membership> {
        let condition = self.read();
        condition.role.as_ref().map(Role::membership)
    }

    /// A tenure begins, and with it the recovery, which fills in how far it is.
    pub(crate) fn recover(&self, tenure: u64) -> Arc<Progress> {
        let mut condition = self.write();
        condition.stage = Stage::Recovering;
        condition.tenure = Some(tenure);
        condition.progress = Arc::default();
        condition.engine = None;
        Arc::clone(&condition.progress)
    }

    /// The next stage of the same tenure begins.
    pub(crate) fn enter(&self, stage: Stage) {
        self.write().stage = stage;
    }

    /// Clients are served from now on; whom to ask, and how it is.
    pub(crate) fn serve(&self, inbox: Arc<Inbox>, health: Health) {
        let mut condition = self.write();
        condition.stage = Stage::Ready;
        condition.engine = Some((inbox, health));
    }

    /// The store of what serves has failed, as far as a test says so.
    #[cfg(test)]
    pub(crate) fn fail(&self, reason: &str) {
        let condition = self.read();
        let engine = condition.engine.as_ref();
        engine.expect("somebody serves").1.fail(reason);
    }

    /// Asks this server to hand over to another one of its group; the number of the tenure that ends.
    ///
    /// # Errors
    /// There is nothing to hand over, in words.
    pub fn hand_over(&self) -> Result<u64, String> {
        let condition = self.read();
        let tenure = condition.to_hand_over()?;
        condition.hand_over.notify_waiters();
        Ok(tenure)
    }

    /// The tenure that would end if this server were asked to hand over.
    ///
    /// # Errors
    /// As [`Phase::hand_over`].
    pub(crate) fn may_hand_over(&self) -> Result<u64, String> {
        self.read().to_hand_over()
    }

    /// Waits until somebody asks for that, from the call on.
    pub(crate) fn hand_over_asked(&self) -> impl Future<Output = ()> + use<> {
        Arc::clone(&self.read().hand_over).notified_owned()
    }

    /// The engine's inbox.
    ///
    /// # Errors
    /// Why no engine can be asked now, in words.
    pub fn engine(&self) -> Result<Arc<Inbox>, String> {
        let condition = self.read();
        match &condition.engine {
            Some((inbox, _)) => Ok(Arc::clone(inbox)),
            None => Err(condition.not_asked()),
        }
    }

    /// How the archiving of what serves is; none when nothing is archived.
    pub(crate) fn archive(&self) -> Option<Reported> {
        let condition = self.read();
        condition.engine.as_ref().and_then(|(_, health)| health.archive().get())
    }

    /// Why clients are not served now, or not all of what they ask for, in words; `None` when they are.
    pub fn not_ready(&self) -> Option<String> {
        let condition = self.read();
        let unhealthy = condition.engine.as_ref().and_then(|(_, health)| health.reason());
        unhealthy.or_else(|| condition.not_ready())
    }
}

impl Condition {
    fn to_hand_over(&self) -> Result<u64, String> {
        let Some(role) = &self.role else {
            return Err("this server is in no fault-tolerance group: there is no other one to hand over to".to_owned());
        };
        match (self.stage, self.tenure) {
            (Stage::Ready, Some(tenure)) => Ok(tenure),
            (Stage::StandingBy, _) => Err(format!("this server stands by: {}; ask that one", role.who_serves())),
            _ => Err(self.not_ready().unwrap_or_default()),
        }
    }

    fn with_role(&mut self, change: impl FnOnce(&mut Role)) {
        if let Some(role) = &mut self.role {
            change(role);
        }
    }

    /// Why nobody can be asked, and who can.
    fn not_asked(&self) -> String {
        match (&self.role, self.stage) {
            (Some(role), Stage::StandingBy) => role.ask_another(),
            _ => self.not_ready().unwrap_or_default(),
        }
    }

    fn not_ready(&self) -> Option<String> {
        match self.stage {
            Stage::Waiting => Some(format!("not serving: {}", self.waiting)),
            Stage::StandingBy => Some(format!(
                "standing by: {}",
                self.role.as_ref().map_or_else(String::new, Role::who_serves)
            )),
            Stage::Recovering => Some(format!("recovering: {}", Told(&self.progress))),
            Stage::Opening => Some("starting".to_owned()),
            Stage::Ready => None,
            Stage::Stopping => Some("shutting down".to_owned()),
        }
    }
}

/// How far a recovery is, in words.
pub(crate) struct Told<'a>(pub(crate) &'a Progress);

impl Display for Told<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (done, total) = (self.0.bytes_done(), self.0.bytes_total());
        let Some(percent) = (u128::from(done) * 100).checked_div(u128::from(total)) else {
            return f.write_str("looking at the store");
        };
        write!(
            f,
            "{percent}% of {} read, {} records, {} channels",
            seaway_config::format_size(total),
            self.0.records(),
            self.0.channels()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_ready_server_has_no_excuse() {
        let phase = Phase::default();
        let reader = phase.clone();
        assert_eq!(reader.not_ready().unwrap(), "not serving: no tenure was granted yet");
        phase.recover(7);
        assert_eq!(reader.not_ready().unwrap(), "recovering: looking at the store");
        assert_eq!((reader.stage(), reader.tenure()), (Stage::Recovering, Some(7)));
        phase.enter(Stage::Opening);
        assert_eq!(reader.not_ready().unwrap(), "starting");
        assert_eq!(reader.engine().err().unwrap(), "starting");
        phase.serve(Arc::default(), Health::default());
        assert!(reader.engine().is_ok() && reader.not_ready().is_none());
        phase.enter(Stage::Stopping);
        assert_eq!(reader.not_ready().unwrap(), "shutting down");
        assert!(reader.engine().is_ok(), "it answers until its end");
        phase.wait("tenure 7 was lost: somebody else has it".to_owned());
        let words = "not serving: tenure 7 was lost: somebody else has it";
        assert_eq!(reader.not_ready().unwrap(), words);
        assert_eq!(reader.engine().err().unwrap(), words);
        assert_eq!((reader.stage(), reader.tenure()), (Stage::Waiting, None));
        assert!(reader.membership().is_none());
    }

    #[test]
    fn a_member_says_which_part_it_has_since_when_and_why() {
        let phase = Phase::of_group("orders", "b");
        let role = || {
            let member = phase.membership().unwrap();
            (member.is_active, member.changes, member.reason)
        };
        assert_eq!(role(), (false, 0, "started".to_owned()));
        phase.stand_by(None);
        assert_eq!(phase.not_ready().unwrap(), "standing by: nobody serves yet");
        let active = Active {
            member: "a".to_owned(),
            tenure: 6,
        };
        phase.stand_by(Some(active.clone()));
        assert_eq!(phase.not_ready().unwrap(), "standing by: a serves under tenure 6");
        assert_eq!(phase.membership().unwrap().active, Some(active));
        assert_eq!(
            phase.engine().err().unwrap(),
            "b stands by, and a serves under tenure 6: ask that one."
        );
        phase.take_over("its lock is free");
        phase.recover(7);
        assert_eq!(role(), (true, 1, "its lock is free".to_owned()));
        phase.serve(Arc::default(), Health::default());
        assert!(phase.not_ready().is_none() && phase.membership().unwrap().active.is_none());
        phase.wait("tenure 7 was lost: b has it".to_owned());
        phase.stand_by(None);
        assert_eq!(role(), (false, 2, "tenure 7 was lost: b has it".to_owned()));
    }
}
