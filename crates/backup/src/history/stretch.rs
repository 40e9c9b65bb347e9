//! Which moments can be had: chains of links, in which nothing is missing.

use std::collections::HashMap;

use super::link::{ArchivedFile, Head, decode};
use super::{History, shown};
use crate::error::{Error, io_error};
use crate::limits::{LINK_BYTES_MAX, LINK_HEAD_BYTES, NAME_DIGITS_SHOWN, STORES_NAMED_MAX};

/// A chain of links without a hole: every moment from its beginning to its end can be had.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// The store's identity, hexadecimal.
    pub identity: String,
    /// Which life of the store, hexadecimal: none of one that was never restored. What another life has is another history.
    pub life: Option<String>,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// The first moment, nanoseconds since the Unix epoch.
    pub from: i64,
    /// The last one; before the first as long as there is none.
    pub until: i64,
    /// Where the store's journal ends.
    pub position: u64,
    /// Its links, from a base on.
    pub(super) path: Vec<(String, Head)>,
}

/// What an archive reaches.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// In the order of their first moments.
    pub stretches: Vec<Stretch>,
    /// Links that cannot be read, and why.
    pub damaged: Vec<(String, String)>,
}

impl Stretch {
    /// The first moment, when there is one already.
    pub fn first(&self) -> Option<i64> {
        (self.from <= self.until).then_some(self.from)
    }

    /// The store as people name it, and as `--store` takes it: the beginning of its identity and, behind a point, of its life.
    pub fn store(&self) -> String {
        let short = |name: &str| name.get(..NAME_DIGITS_SHOWN).unwrap_or(name).to_owned();
        format!(
            "{}.{}",
            short(&self.identity),
            self.life.as_deref().map(short).unwrap_or_default()
        )
    }

    /// Whether it is of the store, or of one life of it, that is named so: with nothing behind the point the one that was never restored.
    fn is_of(&self, store: &str) -> bool {
        let (identity, life) = match store.split_once('.') {
            None => (store, None),
            Some((identity, life)) => (identity, Some(life)),
        };
        self.identity.starts_with(identity)
            && match (life, &self.life) {
                (None, _) | (Some(""), None) => true,
                (Some(""), Some(_)) | (Some(_), None) => false,
                (Some(wanted), Some(life)) => life.starts_with(wanted),
            }
    }

    /// A moment at which everything is in it, up to its end, what was on its way included: there is nothing later in it, whatever the clock
    /// did meanwhile.
    pub fn end(&self) -> i64 {
        let latest = self.path.iter().map(|(_, head)| head.latest()).max();
        latest.unwrap_or(self.until)
    }

    /// How many links it has.
    pub fn links(&self) -> usize {
        self.path.len()
    }

    fn of(path: Vec<(String, Head)>) -> Option<Stretch> {
        let first = path.iter().position(|(_, head)| head.is_base)?;
        let path: Vec<_> = path.into_iter().skip(first).collect();
        let (base, last) = (&path.first()?.1, &path.last()?.1);
        Some(Stretch {
            identity: last.identity.clone(),
            life: last.life.clone(),
            encrypted: last.encrypted,
            // What has no time of its own in the first base was there when that was made.
            from: base.latest().max(base.begun.unwrap_or(i64::MIN)),
            // Before `from` when something of its latest moment was on its way: then the next link gives the first moment.
            until: last.until,
            position: last.end.position,
            path,
        })
    }
}

impl History {
    /// What can be reached.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn reach(&self) -> Result<Reach, Error> {
        let mut reach = Reach::default();
        let mut heads: HashMap<String, Head> = HashMap::new();
        for name in self.link_names()? {
            match self.head(&name) {
                Ok(head) => _ = heads.insert(name, head),
                Err(reason) => reach.damaged.push((name, reason)),
            }
        }
        // What is removed for its age goes up to a base: nothing else may miss what it continues.
        for (name, head) in &heads {
            let missing = head.previous.as_ref().filter(|previous| !heads.contains_key(*previous));
            if let Some(previous) = missing.filter(|_| !head.is_base) {
                let reason = format!("what it continues is missing: {previous}");
                reach.damaged.push((name.clone(), reason));
            }
        }
        reach.damaged.sort_unstable();
        // Of links that continue the same one, the way that leads furthest counts: what others have is in it, too.
        let mut furthest: HashMap<&str, (u64, i64, &str)> = HashMap::new();
        let mut roots: HashMap<&str, &str> = HashMap::new();
        let mut names: Vec<&String> = heads.keys().collect();
        names.sort_unstable();
        for name in names {
            let root = root_of(name, &heads, &mut roots);
            let head = &heads[name];
            let candidate = (head.end.position, head.until, name.as_str());
            let best = furthest.entry(root).or_insert(candidate);
            *best = candidate.max(*best);
        }
        let leaves: Vec<&str> = furthest.values().map(|(_, _, name)| *name).collect();
        for leaf in leaves {
            let mut path = Vec::new();
            let mut at = Some(leaf);
            while let Some((name, head)) = at.and_then(|name| heads.get_key_value(name)) {
                if path.len() == heads.len() {
                    path.clear();
                    let reason = "it continues itself, by way of others".to_owned();
                    reach.damaged.push((leaf.to_owned(), reason));
                    break;
                }
                path.push((name.clone(), head.clone()));
                at = head.previous.as_deref();
            }
            path.reverse();
            reach.stretches.extend(Stretch::of(path));
        }
        reach
            .stretches
            .sort_by_key(|stretch| (stretch.from, stretch.path[0].0.clone()));
        Ok(reach)
    }

    /// What a link says of itself.
    pub(super) fn head(&self, name: &str) -> Result<Head, String> {
        let read = || {
            let file = self.disk.open_to_read(name)?;
            let length = file.length()?.min(LINK_HEAD_BYTES);
            let mut bytes = vec![0; length as usize];
            file.read_at(&mut bytes, 0).map(|()| bytes)
        };
        let bytes = read().map_err(|error| format!("it cannot be read: {error}"))?;
        Head::peek(&bytes)
    }

    /// A whole link.
    pub(super) fn link(&self, name: &str) -> Result<(Head, Vec<ArchivedFile>), Error> {
        let damaged = |reason: String| Error::Damaged(format!("the archive is damaged: {name}: {reason}"));
        let read = || {
            let file = self.disk.open_to_read(name)?;
            let length = file.length()?;
            if length > LINK_BYTES_MAX {
                return Ok(None);
            }
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            file.read_at(&mut bytes, 0).map(|()| Some(bytes))
        };
        match read().map_err(io_error(format!("read {name} of the archive")))? {
            Some(bytes) => decode(name, &bytes).map_err(damaged),
            None => Err(damaged("it is too long".to_owned())),
        }
    }
}

/// The link with which the chain of another begins, as far as it is there.
fn root_of<'a>(name: &'a str, heads: &'a HashMap<String, Head>, roots: &mut HashMap<&'a str, &'a str>) -> &'a str {
    let mut way = Vec::new();
    let mut at = name;
    let root = loop {
        if let Some(root) = roots.get(at) {
            break *root;
        }
        way.push(at);
        let previous = heads.get(at).and_then(|head| head.previous.as_deref());
        match previous.and_then(|previous| heads.get_key_value(previous)) {
            // Names are checksums of what they name, so no chain leads back to itself but one that somebody forged.
            Some((previous, _)) if way.len() <= heads.len() => at = previous,
            _ => break at,
        }
    };
    for name in way {
        roots.insert(name, root);
    }
    root
}

fn nothing(store: &str) -> String {
    match store {
        "" => "there is no moment in the archive yet".to_owned(),
        store => format!("no moment in the archive is of the store {store}"),
    }
}

impl Reach {
    /// The stretch that has a moment, of a store whose name begins so: the one that was begun last, of several.
    ///
    /// # Errors
    /// None has it; in words what there is around it.
    pub fn stretch_at(&self, store: &str, moment: i64) -> Result<&Stretch, Error> {
        let of_one = self.of_store(store)?;
        let of_store = || of_one.iter().copied();
        let has = |stretch: &&Stretch| (stretch.from..=stretch.until).contains(&moment);
        if let Some(found) = of_store().rfind(has) {
            return Ok(found);
        }
        let before = of_store()
            .filter(|stretch| stretch.until < moment)
            .map(|stretch| stretch.until)
            .max();
        let after = of_store()
            .filter(|stretch| stretch.from > moment)
            .map(|stretch| stretch.from)
            .min();
        let wanted = shown(moment);
        Err(Error::Refused(match (before, after) {
            (Some(before), Some(after)) => format!(
                "{wanted} lies in a gap: nothing was archived between {} and {}, and the archive reaches neither over it nor into it. Take \
                 one of these two moments, or one beyond them",
                shown(before),
                shown(after)
            ),
            (Some(before), None) => format!(
                "the archive reaches up to {}, and whether anything was written between that and {wanted} is not known: take that moment or \
                 an earlier one",
                shown(before)
            ),
            (None, Some(after)) => format!(
                "the archive reaches back to {}, and {wanted} is before that",
                shown(after)
            ),
            (None, None) => nothing(store),
        }))
    }

    /// The stretch that was written to last, of a store whose name begins so.
    ///
    /// # Errors
    /// There is none, or it is not clear of which store.
    pub fn newest(&self, store: &str) -> Result<&Stretch, Error> {
        let of_store = self.of_store(store)?.into_iter();
        let newest = of_store.max_by_key(|stretch| stretch.path.last().map(|(_, head)| head.made));
        newest.ok_or_else(|| Error::Refused(nothing(store)))
    }

    /// The stretches of the one store whose name is this, or begins so.
    fn of_store(&self, store: &str) -> Result<Vec<&Stretch>, Error> {
        let store = store.to_ascii_lowercase();
        let stretches = self.stretches.iter();
        let of_store: Vec<&Stretch> = stretches.filter(|stretch| stretch.is_of(&store)).collect();
        let mut stores: Vec<(String, &str, &Option<String>)> = of_store
            .iter()
            .map(|stretch| (stretch.store(), stretch.identity.as_str(), &stretch.life))
            .collect();
        stores.sort_unstable();
        stores.dedup();
        if stores.len() > 1 {
            return Err(Error::Refused(format!(
                "{} stores, or lives of one that was restored, are archived in it: name one with --store: {}",
                stores.len(),
                stores
                    .iter()
                    .take(STORES_NAMED_MAX)
                    .map(|(name, ..)| name.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            )));
        }
        Ok(of_store)
    }
}
