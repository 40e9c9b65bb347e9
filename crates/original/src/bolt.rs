//! The file of a bbolt database, as far as a Raft log needs it: two meta pages, buckets, trees of pages. Reads one key after the
//! other; a page that makes no sense ends the reading.

use std::path::Path;

use crate::error::Error;
use crate::limits::{PAGE_DEPTH_MAX, RAFT_WINDOW_BYTES, RECORD_BYTES_MAX};
use crate::window::Window;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
const PAGE_HEADER_BYTES: u64 = 16;
const ELEMENT_BYTES: u64 = 16;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const BUCKET: u32 = 1;

/// Why reading ends.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The file says something that cannot be, at this byte.
    Damaged(u64),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error)
    }
}

/// A database file.
pub(crate) struct Bolt {
    window: Window,
    page_bytes: u64,
    root: u64,
}

/// Where a page is: a part of the file, or of a bucket's value.
#[derive(Debug, Clone, Copy)]
struct Page {
    start: u64,
    end: u64,
    is_leaf: bool,
    count: u64,
}

/// A bucket: where its tree begins.
pub(crate) struct Bucket {
    root: Page,
}

/// A key's place and its value's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    flags: u32,
    pub(crate) key: (u64, usize),
    pub(crate) value: (u64, usize),
}

impl Bolt {
    pub(crate) fn open(path: &Path) -> Result<Self, Stop> {
        let mut window = Window::open_ahead(path, RAFT_WINDOW_BYTES)?;
        // The first meta page tells the page size; without it, the second is looked for where it may be.
        let mut best: Option<(u64, u64, u64)> = None;
        let mut starts = vec![0];
        starts.extend((0..7).map(|shift| 1024u64 << shift));
        for start in starts {
            if let Some(meta) = read_meta(&mut window, start)?
                && (start == 0 || start == meta.1)
                && best.is_none_or(|best| meta.0 > best.0)
            {
                best = Some(meta);
            }
        }
        let (_, page_bytes, root) = best.ok_or(Stop::Damaged(0))?;
        Ok(Self {
            window,
            page_bytes,
            root,
        })
    }

    pub(crate) fn bytes(&mut self, (offset, length): (u64, usize)) -> Result<&[u8], Error> {
        self.window.bytes(offset, length)
    }

    /// A bucket of the root, by its name.
    pub(crate) fn bucket(&mut self, name: &[u8]) -> Result<Option<Bucket>, Stop> {
        let root = self.page(self.root)?;
        let mut cursor = Cursor::new(Bucket { root });
        while let Some(item) = cursor.next(self)? {
            if item.flags & BUCKET == 0 || self.bytes(item.key)? != name {
                continue;
            }
            let (offset, length) = item.value;
            let damaged = Stop::Damaged(offset);
            if length < 16 {
                return Err(damaged);
            }
            let root = match u64_at(self.bytes((offset, 8))?) {
                0 => self.page_at(offset + 16, offset + length as u64)?,
                root => self.page(root)?,
            };
            return Ok(Some(Bucket { root }));
        }
        Ok(None)
    }

    fn page(&mut self, identifier: u64) -> Result<Page, Stop> {
        let start = identifier.checked_mul(self.page_bytes).ok_or(Stop::Damaged(0))?;
        if start.saturating_add(PAGE_HEADER_BYTES) > self.window.length() {
            return Err(Stop::Damaged(start.min(self.window.length())));
        }
        let header = self.window.bytes(start, PAGE_HEADER_BYTES as usize)?;
        let (own, overflow) = (u64_at(header), u64::from(u32_at(&header[12..])));
        let end = (overflow + 1).saturating_mul(self.page_bytes).saturating_add(start);
        if own != identifier {
            return Err(Stop::Damaged(start));
        }
        self.page_at(start, end)
    }

    fn page_at(&mut self, start: u64, end: u64) -> Result<Page, Stop> {
        let damaged = || Stop::Damaged(start);
        if end > self.window.length() || end - start < PAGE_HEADER_BYTES {
            return Err(damaged());
        }
        let header = self.window.bytes(start, PAGE_HEADER_BYTES as usize)?;
        let flags = u16::from_le_bytes([header[8], header[9]]);
        let count = u64::from(u16::from_le_bytes([header[10], header[11]]));
        if !matches!(flags, BRANCH | LEAF) || PAGE_HEADER_BYTES + count * ELEMENT_BYTES > end - start {
            return Err(damaged());
        }
        Ok(Page {
            start,
            end,
            is_leaf: flags == LEAF,
            count,
        })
    }

    /// The page below a branch's element.
    fn child(&mut self, page: &Page, position: u64) -> Result<Page, Stop> {
        let element = page.start + PAGE_HEADER_BYTES + position * ELEMENT_BYTES;
        let identifier = u64_at(&self.window.bytes(element, ELEMENT_BYTES as usize)?[8..]);
        self.page(identifier)
    }

    /// A leaf's element.
    fn item(&mut self, page: &Page, position: u64) -> Result<Item, Stop> {
        let element = page.start + PAGE_HEADER_BYTES + position * ELEMENT_BYTES;
        let bytes = self.window.bytes(element, ELEMENT_BYTES as usize)?;
        let [flags, distance, key, value] = [0, 4, 8, 12].map(|at| u32_at(&bytes[at..]));
        let key_start = element + u64::from(distance);
        let value_start = key_start + u64::from(key);
        if value_start + u64::from(value) > page.end || value > RECORD_BYTES_MAX {
            return Err(Stop::Damaged(element));
        }
        Ok(Item {
            flags,
            key: (key_start, key as usize),
            value: (value_start, value as usize),
        })
    }
}

/// Transaction, page size and root page of a meta page, if it is one.
fn read_meta(window: &mut Window, start: u64) -> Result<Option<(u64, u64, u64)>, Error> {
    const META_BYTES: usize = 64;
    if start + PAGE_HEADER_BYTES + META_BYTES as u64 > window.length() {
        return Ok(None);
    }
    let meta = window.bytes(start + PAGE_HEADER_BYTES, META_BYTES)?;
    let page_bytes = u64::from(u32_at(&meta[8..]));
    let is_meta = u32_at(meta) == MAGIC && u32_at(&meta[4..]) == VERSION && u64_at(&meta[56..]) == fnv64a(&meta[..56]);
    let is_possible = page_bytes.is_power_of_two() && (512..=1 << 20).contains(&page_bytes);
    Ok((is_meta && is_possible).then(|| (u64_at(&meta[48..]), page_bytes, u64_at(&meta[16..]))))
}

fn fnv64a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

fn u32_at(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default())
}

fn u64_at(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default())
}

/// Goes through a bucket in the order of its keys.
pub(crate) struct Cursor {
    /// Pages from the root down, each with the next element.
    stack: Vec<(Page, u64)>,
    pages_seen: u64,
}

impl Cursor {
    pub(crate) fn new(bucket: Bucket) -> Self {
        Self {
            stack: vec![(bucket.root, 0)],
            pages_seen: 0,
        }
    }

    pub(crate) fn next(&mut self, bolt: &mut Bolt) -> Result<Option<Item>, Stop> {
        loop {
            let depth = self.stack.len();
            let Some((page, position)) = self.stack.last_mut() else {
                return Ok(None);
            };
            if *position == page.count {
                self.stack.pop();
                continue;
            }
            let (page, at) = (*page, *position);
            *position += 1;
            if page.is_leaf {
                return bolt.item(&page, at).map(Some);
            }
            // Pages that lead to each other would never end.
            self.pages_seen += 1;
            if depth == PAGE_DEPTH_MAX || self.pages_seen > bolt.window.length() / bolt.page_bytes {
                return Err(Stop::Damaged(page.start));
            }
            let child = bolt.child(&page, at)?;
            self.stack.push((child, 0));
        }
    }
}
