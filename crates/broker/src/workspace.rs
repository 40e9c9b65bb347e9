//! What a connection borrows while it has something to read: a buffer, a route cache, vectors. There are as many as
//! threads that read at the same moment, whatever the number of connections.

use std::sync::Mutex;

use crate::gather::Gatherer;
use crate::limits::{READ_BUFFER_BYTES, WORKSPACES_KEPT};
use crate::lock::lock;

pub(crate) struct Workspace {
    pub(crate) buffer: Box<[u8]>,
    pub(crate) gatherer: Gatherer,
}

/// The work spaces that nobody uses; the one returned last goes out first, being warm.
pub(crate) struct WorkspacePool {
    max_pending: usize,
    kept: Mutex<Vec<Workspace>>,
}

impl WorkspacePool {
    pub(crate) fn new(max_pending: usize) -> Self {
        Self {
            max_pending,
            kept: Mutex::default(),
        }
    }

    pub(crate) fn take(&self) -> Workspace {
        if let Some(workspace) = lock(&self.kept).pop() {
            return workspace;
        }
        Workspace {
            buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            gatherer: Gatherer::new(self.max_pending, false),
        }
    }

    pub(crate) fn give_back(&self, workspace: Workspace) {
        let mut kept = lock(&self.kept);
        if kept.len() < WORKSPACES_KEPT {
            kept.push(workspace);
        }
    }
}
