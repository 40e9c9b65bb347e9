//! Patterns by token. A chain of tokens without a branch is one node, so there are at most two nodes per pattern and their
//! texts are as long as the patterns, however many tokens those have. Nodes are walked and dropped without recursion: no
//! depth can exhaust a thread's stack. Each node is visited at most once per match, and what is removed goes back at once.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use seaway_nats_protocol::subject;

use super::leaf::Leaf;
use super::search::{Path, Place, Search};
use super::subscription::{Handle, Subscription};

/// Children beyond which a node gives the room of those that went back, once most have gone.
const CHILDREN_KEPT: usize = 16;

/// Below the root every node without leaves has at least two children.
struct Node<H> {
    /// The tokens between the one that leads here and the end of this node, joined; empty when there are none.
    chain: Box<[u8]>,
    children: HashMap<Box<[u8]>, Box<Node<H>>, RandomState>,
    /// Child for `*`.
    any: Option<Box<Node<H>>>,
    /// Patterns that end here.
    here: Leaf<H>,
    /// Patterns that end here with `>`.
    tail: Leaf<H>,
}

impl<H> Default for Node<H> {
    fn default() -> Self {
        Self {
            chain: Box::default(),
            children: HashMap::default(),
            any: None,
            here: Leaf::default(),
            tail: Leaf::default(),
        }
    }
}

impl<H: Handle> Node<H> {
    fn has_leaves(&self) -> bool {
        !self.here.is_empty() || !self.tail.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.any.is_none() && !self.has_leaves()
    }

    fn child(&self, token: &[u8]) -> Option<&Node<H>> {
        if token == subject::TOKEN_ANY {
            self.any.as_deref()
        } else {
            self.children.get(token).map(|child| &**child)
        }
    }

    fn child_mut(&mut self, token: &[u8]) -> Option<&mut Node<H>> {
        if token == subject::TOKEN_ANY {
            self.any.as_deref_mut()
        } else {
            self.children.get_mut(token).map(|child| &mut **child)
        }
    }

    /// The node above the one where `path` ends, the token that leads there, and how many levels below this one it is.
    fn parent_of<'a>(&mut self, mut path: &'a [u8]) -> Option<(&mut Node<H>, &'a [u8], usize)> {
        let mut at = self;
        for level in 0.. {
            let (token, behind) = first_token(path);
            let chain = &at.child(token)?.chain;
            path = match behind.strip_prefix(&**chain)? {
                [] => return Some((at, token, level)),
                rest if chain.is_empty() => rest,
                [subject::TOKEN_SEPARATOR, rest @ ..] => rest,
                _ => return None,
            };
            at = at.child_mut(token)?;
        }
        None
    }

    fn adopt(&mut self, token: &[u8], child: Box<Node<H>>) -> &mut Node<H> {
        if token == subject::TOKEN_ANY {
            self.any.insert(child)
        } else {
            self.children.entry(token.into()).insert_entry(child).into_mut()
        }
    }

    fn disown(&mut self, token: &[u8]) {
        if token == subject::TOKEN_ANY {
            self.any = None;
            return;
        }
        self.children.remove(token);
        if self.children.capacity() > CHILDREN_KEPT && self.children.len() * 8 < self.children.capacity() {
            self.children.shrink_to_fit();
        }
    }

    /// Cuts the node after `len` bytes of its chain: what was behind becomes its only child.
    fn split(&mut self, len: usize) {
        let whole = std::mem::take(&mut self.chain);
        let (front, behind) = cut(&whole, len);
        let (token, chain) = first_token(behind);
        let mut lower = Box::new(std::mem::take(self));
        lower.chain = chain.into();
        self.chain = front.into();
        self.adopt(token, lower);
    }

    /// Becomes one node with its child when that is the only reason for it to be.
    fn merge(&mut self) {
        if self.has_leaves() || self.children.len() + usize::from(self.any.is_some()) != 1 {
            return;
        }
        let (token, child) = match self.any.take() {
            Some(child) => (subject::TOKEN_ANY.into(), child),
            None => match std::mem::take(&mut self.children).into_iter().next() {
                Some(only) => only,
                None => return,
            },
        };
        let chain = join(&[&self.chain, &token, &child.chain]).into();
        *self = Node { chain, ..*child };
    }
}

/// The first token of a pattern, and what follows it; both are empty at the end of the pattern.
fn first_token(path: &[u8]) -> (&[u8], &[u8]) {
    let len = path
        .iter()
        .position(|byte| *byte == subject::TOKEN_SEPARATOR)
        .unwrap_or(path.len());
    cut(path, len)
}

/// What is before and behind the separator at `len`; everything is behind when there is no token before it.
fn cut(path: &[u8], len: usize) -> (&[u8], &[u8]) {
    if len == 0 {
        return (&[], path);
    }
    (&path[..len], path.get(len + 1..).unwrap_or_default())
}

/// A pattern without its `>`, and whether it had one.
fn without_tail(pattern: &[u8]) -> (&[u8], bool) {
    match pattern.strip_suffix(subject::TOKEN_TAIL) {
        None => (pattern, false),
        Some([]) => (&[], true),
        // A token may end like this; the tail is a token of its own.
        Some([path @ .., subject::TOKEN_SEPARATOR]) => (path, true),
        Some(_) => (pattern, false),
    }
}

/// Bytes of `chain` up to the last token that `path` begins with too.
fn common(chain: &[u8], path: &[u8]) -> usize {
    let equal = chain.iter().zip(path).take_while(|(one, other)| one == other).count();
    let ends = |text: &[u8]| text.get(equal).is_none_or(|byte| *byte == subject::TOKEN_SEPARATOR);
    if ends(chain) && ends(path) {
        return equal;
    }
    let separator = chain[..equal]
        .iter()
        .rposition(|byte| *byte == subject::TOKEN_SEPARATOR);
    separator.unwrap_or(0)
}

/// Where the rest of `text` behind a node begins, when the subject goes through it: past its end when nothing is left. The path
/// grows by the tokens of the node.
fn through(chain: &[u8], text: &[u8], mut start: usize, path: &mut Path) -> Option<usize> {
    if chain.is_empty() {
        return Some(start);
    }
    for token in subject::tokens(chain) {
        let (found, _) = first_token(text.get(start..)?);
        let any = token == subject::TOKEN_ANY;
        // No token of a subject is empty: an empty one is the end.
        if found.is_empty() || (!any && token != found) {
            return None;
        }
        path.push(any);
        start += found.len() + 1;
    }
    Some(start)
}

/// How a node that the subject goes through lies to the place where an earlier slice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Everything at and below it has been looked at.
    Before,
    /// The place is below it.
    Above,
    /// This is the place.
    At,
    /// Nothing at or below it has been looked at.
    Behind,
}

fn side(path: &[bool], place: &[bool]) -> Side {
    let shared = path.len().min(place.len());
    match path[..shared].cmp(&place[..shared]) {
        std::cmp::Ordering::Less => Side::Before,
        std::cmp::Ordering::Greater => Side::Behind,
        std::cmp::Ordering::Equal if path.len() < place.len() => Side::Above,
        std::cmp::Ordering::Equal if path.len() == place.len() => Side::At,
        std::cmp::Ordering::Equal => Side::Behind,
    }
}

/// A node that is to be looked at.
struct Open<'a, H> {
    node: &'a Node<H>,
    /// Where what the subject has behind its parent begins, by the parent's path, and the token that leads here.
    start: usize,
    depth: usize,
    any: Option<bool>,
    /// The place where the last slice ended may be at or below it.
    along: bool,
}

pub(crate) struct Trie<H> {
    root: Node<H>,
}

impl<H> Default for Trie<H> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<H: Handle> Trie<H> {
    pub(super) fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    /// The leaf of a valid pattern; created if need be, so something has to be inserted into it.
    pub(super) fn leaf_for_insert(&mut self, pattern: &[u8]) -> &mut Leaf<H> {
        let (mut path, tail) = without_tail(pattern);
        let mut at = &mut self.root;
        while !path.is_empty() {
            let (token, behind) = first_token(path);
            if at.child(token).is_none() {
                let chain = behind.into();
                at = at.adopt(
                    token,
                    Box::new(Node {
                        chain,
                        ..Node::default()
                    }),
                );
                break;
            }
            at = at.child_mut(token).expect("it was just seen");
            let shared = common(&at.chain, behind);
            if shared < at.chain.len() {
                at.split(shared);
            }
            path = cut(behind, shared).1;
        }
        if tail { &mut at.tail } else { &mut at.here }
    }

    /// Removes a subscription and the nodes it alone kept. Returns whether it was the last one of its pattern.
    pub(super) fn remove(&mut self, subscription: &Arc<Subscription<H>>) -> bool {
        let (path, tail) = without_tail(subscription.subject());
        let removed = |node: &mut Node<H>| {
            if tail {
                node.tail.remove(subscription)
            } else {
                node.here.remove(subscription)
            }
        };
        if path.is_empty() {
            return removed(&mut self.root);
        }
        let Some((parent, token, level)) = self.root.parent_of(path) else {
            return false;
        };
        let Some(node) = parent.child_mut(token) else {
            return false;
        };
        let last = removed(node);
        node.merge();
        if node.is_empty() {
            parent.disown(token);
            // The root stays a node of its own.
            if level > 0 {
                parent.merge();
            }
        }
        last
    }

    /// Adds the leaves of every pattern that matches a well-formed subject, from the search's place on. Returns whether that are
    /// all; the search's place is where to go on otherwise.
    pub(super) fn search(&self, text: &[u8], search: &mut Search<H>) -> bool {
        let from = search.place.take();
        let mut path = Path::new();
        let mut open: smallvec::SmallVec<[Open<'_, H>; 16]> = smallvec::smallvec![Open {
            node: &self.root,
            start: 0,
            depth: 0,
            any: None,
            along: from.is_some(),
        }];
        while let Some(next) = open.pop() {
            if search.is_due() {
                search.place = Some(Place { path, groups_left: 0 });
                return false;
            }
            path.truncate(next.depth);
            path.extend(next.any);
            search.visit(next.along);
            let Some(start) = through(&next.node.chain, text, next.start, &mut path) else {
                continue;
            };
            let from = from.as_ref().filter(|_| next.along);
            let side = from.map_or(Side::Behind, |from| side(&path, &from.path));
            let is_end = start > text.len();
            let leaf = if is_end { &next.node.here } else { &next.node.tail };
            let groups_left = match side {
                Side::Before => continue,
                Side::Above => Some(0),
                Side::At => from.map(|from| from.groups_left),
                Side::Behind => None,
            };
            let groups_left = search.add(leaf, text, groups_left);
            if groups_left > 0 {
                search.place = Some(Place { path, groups_left });
                return false;
            }
            if is_end {
                continue;
            }
            let depth = path.len();
            let (token, _) = first_token(&text[start..]);
            let child = |node, any| {
                let beside = from.filter(|_| side == Side::Above).map(|from| from.path[depth]);
                Open {
                    node,
                    start: start + token.len() + 1,
                    depth,
                    any: Some(any),
                    along: beside == Some(any),
                }
            };
            // Those of a literal token before those of `*`: what was pushed last is looked at first.
            open.extend(next.node.any.as_deref().map(|node| child(node, true)));
            let is_before = from.is_some_and(|from| side == Side::Above && from.path[depth]);
            if !is_before {
                open.extend(next.node.children.get(token).map(|node| child(node, false)));
            }
        }
        true
    }

    /// Calls `visit` with the text of every pattern that has a subscription.
    pub(super) fn for_each_pattern(&self, visit: &mut dyn FnMut(&[u8])) {
        let mut open: Vec<(&Node<H>, Vec<u8>)> = vec![(&self.root, Vec::new())];
        while let Some((node, prefix)) = open.pop() {
            let prefix = join(&[&prefix, &node.chain]);
            if !node.here.is_empty() {
                visit(&prefix);
            }
            if !node.tail.is_empty() {
                visit(&join(&[&prefix, subject::TOKEN_TAIL]));
            }
            let any = node.any.iter().map(|child| (subject::TOKEN_ANY, child));
            let children = node.children.iter().map(|(token, child)| (&**token, child));
            open.extend(
                any.chain(children)
                    .map(|(token, child)| (&**child, join(&[&prefix, token]))),
            );
        }
    }
}

impl<H> Drop for Trie<H> {
    fn drop(&mut self) {
        let mut open = vec![std::mem::take(&mut self.root)];
        while let Some(mut node) = open.pop() {
            open.extend(node.any.take().map(|child| *child));
            open.extend(node.children.drain().map(|(_, child)| *child));
        }
    }
}

/// The parts that are not empty, as one text of tokens.
fn join(parts: &[&[u8]]) -> Vec<u8> {
    let parts: Vec<&[u8]> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    parts.join(&subject::TOKEN_SEPARATOR)
}

#[cfg(test)]
impl<H: Handle> Trie<H> {
    /// Nodes below the root, and bytes of the texts that lead to them and that they hold.
    ///
    /// # Panics
    /// When a node has no reason to be.
    pub(super) fn size(&self) -> (usize, usize) {
        let (mut nodes, mut bytes) = (0, 0);
        let mut open: Vec<&Node<H>> = vec![&self.root];
        while let Some(node) = open.pop() {
            for (token, child) in node
                .children
                .iter()
                .map(|(token, child)| (&**token, child))
                .chain(node.any.iter().map(|child| (&[][..], child)))
            {
                let branches = child.children.len() + usize::from(child.any.is_some());
                assert!(child.has_leaves() || branches > 1, "a node that branches nowhere");
                nodes += 1;
                bytes += token.len() + child.chain.len();
                open.push(child);
            }
        }
        (nodes, bytes)
    }
}
