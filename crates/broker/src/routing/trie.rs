//! Patterns by token. Nodes live in an arena and are walked with an explicit stack: neither depth nor dropping of a
//! pattern with thousands of tokens can exhaust a thread's stack, and each node is visited at most once per match.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use seaway_nats_protocol::subject;

use super::leaf::{Leaf, RouteBuilder};
use crate::subscription::Subscription;

/// Index of the root in the arena; also "no node" where a child is meant, as the root is nobody's child.
const ROOT: u32 = 0;

#[derive(Default)]
struct Node {
    children: HashMap<Box<[u8]>, u32, RandomState>,
    /// Child for `*`.
    any: u32,
    /// Patterns that end here.
    here: Leaf,
    /// Patterns that end here with `>`.
    tail: Leaf,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.any == ROOT && self.here.is_empty() && self.tail.is_empty()
    }
}

pub(crate) struct Trie {
    nodes: Vec<Node>,
    free: Vec<u32>,
}

impl Default for Trie {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            free: Vec::new(),
        }
    }
}

impl Trie {
    pub(super) fn is_empty(&self) -> bool {
        self.nodes[ROOT as usize].is_empty()
    }

    fn node(&mut self, index: u32) -> &mut Node {
        &mut self.nodes[index as usize]
    }

    fn allocate(&mut self) -> u32 {
        if let Some(index) = self.free.pop() {
            return index;
        }
        self.nodes.push(Node::default());
        u32::try_from(self.nodes.len() - 1).expect("memory ends long before 2^32 nodes")
    }

    /// The leaf of a valid pattern; created if need be, so something has to be inserted into it.
    pub(super) fn leaf_for_insert(&mut self, pattern: &[u8]) -> &mut Leaf {
        let mut at = ROOT;
        for token in subject::tokens(pattern) {
            if token == subject::TOKEN_TAIL {
                return &mut self.node(at).tail;
            }
            at = if token == subject::TOKEN_ANY {
                match self.node(at).any {
                    ROOT => {
                        let child = self.allocate();
                        self.node(at).any = child;
                        child
                    }
                    child => child,
                }
            } else {
                match self.node(at).children.get(token) {
                    Some(child) => *child,
                    None => {
                        let child = self.allocate();
                        self.node(at).children.insert(token.into(), child);
                        child
                    }
                }
            };
        }
        &mut self.node(at).here
    }

    /// Removes a subscription and the nodes it alone kept. Returns whether it was the last one of its pattern.
    pub(super) fn remove(&mut self, subscription: &Arc<Subscription>) -> bool {
        let mut path: Vec<(u32, &[u8])> = Vec::new();
        let mut at = ROOT;
        let mut tail = false;
        for token in subject::tokens(subscription.subject()) {
            if token == subject::TOKEN_TAIL {
                tail = true;
                break;
            }
            let node = &self.nodes[at as usize];
            let child = if token == subject::TOKEN_ANY {
                node.any
            } else {
                node.children.get(token).copied().unwrap_or(ROOT)
            };
            if child == ROOT {
                return false;
            }
            path.push((at, token));
            at = child;
        }
        let node = self.node(at);
        let last = if tail {
            node.tail.remove(subscription)
        } else {
            node.here.remove(subscription)
        };
        while let Some((parent, token)) = path.pop() {
            if !self.node(at).is_empty() {
                break;
            }
            *self.node(at) = Node::default();
            self.free.push(at);
            if token == subject::TOKEN_ANY {
                self.node(parent).any = ROOT;
            } else {
                self.node(parent).children.remove(token);
            }
            at = parent;
        }
        if self.is_empty() {
            *self = Self::default();
        }
        last
    }

    /// Adds the leaves of every pattern that matches a well-formed subject.
    pub(super) fn matches(&self, text: &[u8], builder: &mut RouteBuilder<'_>) {
        let mut open: smallvec::SmallVec<[(u32, usize); 16]> = smallvec::smallvec![(ROOT, 0)];
        while let Some((index, start)) = open.pop() {
            let node = &self.nodes[index as usize];
            if start > text.len() {
                builder.add(&node.here);
                continue;
            }
            builder.add(&node.tail);
            let rest = &text[start..];
            let length = rest
                .iter()
                .position(|byte| *byte == subject::TOKEN_SEPARATOR)
                .unwrap_or(rest.len());
            let next = start + length + 1;
            if node.any != ROOT {
                open.push((node.any, next));
            }
            if let Some(child) = node.children.get(&rest[..length]) {
                open.push((*child, next));
            }
        }
    }

    /// Calls `visit` with the text of every pattern that has a subscription.
    pub(super) fn for_each_pattern(&self, visit: &mut dyn FnMut(&[u8])) {
        let mut open: Vec<(u32, Vec<u8>)> = vec![(ROOT, Vec::new())];
        let join = |prefix: &[u8], token: &[u8]| {
            let mut text = prefix.to_vec();
            if !text.is_empty() {
                text.push(subject::TOKEN_SEPARATOR);
            }
            text.extend_from_slice(token);
            text
        };
        while let Some((index, prefix)) = open.pop() {
            let node = &self.nodes[index as usize];
            if !node.here.is_empty() {
                visit(&prefix);
            }
            if !node.tail.is_empty() {
                visit(&join(&prefix, subject::TOKEN_TAIL));
            }
            if node.any != ROOT {
                open.push((node.any, join(&prefix, subject::TOKEN_ANY)));
            }
            open.extend(
                node.children
                    .iter()
                    .map(|(token, child)| (*child, join(&prefix, token))),
            );
        }
    }
}
