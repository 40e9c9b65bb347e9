//! What a member has to tell its owner.

use std::collections::VecDeque;

use bytes::Bytes;
use seaway_replica::{Configuration, Role, Stop};

use crate::limits::WARNINGS_MAX;

/// What happened since the owner last asked. Of roles and members only the newest are in it: a term that is not in it any more is over.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct News {
    /// What the member is to the cluster now, when that changed.
    pub role: Option<Role>,
    /// Who the members are, when that changed, and what came with the change.
    pub members: Option<(Configuration, Bytes)>,
    /// It takes no part any more, and nothing but a new start helps.
    pub stopped: Option<Stop>,
    /// The store takes nothing more, in words why; `stopped` follows when it has given its leadership away.
    pub failed: Option<String>,
    /// What an operator should read; of more than 64 the newest.
    pub warnings: VecDeque<String>,
}

impl News {
    pub(crate) fn warn(&mut self, warning: String) {
        if self.warnings.len() >= WARNINGS_MAX {
            self.warnings.pop_front();
        }
        self.warnings.push_back(warning);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == News::default()
    }
}
