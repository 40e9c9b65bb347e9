//! The modules of one crate: which file each is, what it imports, and in which file a path was defined.
//!
//! Reads tokens, not types: a path is followed through modules and `use` declarations to the module that declares its name.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, anyhow};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// `use` declarations that are followed from one name to its definition; more go in a circle of re-exports.
const RE_EXPORTS_MAX: usize = 16;

/// The path of a module below the root of its crate.
type ModulePath = Vec<String>;

/// One mention of something else.
struct Mention {
    module: ModulePath,
    path: Vec<String>,
    /// The name under which a public `use` hands the path on.
    re_exported_as: Option<String>,
}

/// A module that was read.
#[derive(Default)]
struct Module {
    file: usize,
    /// What each name of a `use` declaration stands for, relative to this module.
    bindings: BTreeMap<String, Vec<Vec<String>>>,
}

/// What a path leads to.
enum Target {
    Module(ModulePath),
    /// Something that this module declares.
    Item(ModulePath),
}

/// The files of a crate and what they mention.
#[derive(Default)]
pub(super) struct Modules {
    /// Paths below `src`.
    files: Vec<String>,
    modules: BTreeMap<ModulePath, Module>,
    mentions: Vec<Mention>,
    /// The names in each file's code outside of its `use` declarations.
    names: Vec<BTreeSet<String>>,
    /// Modules that exist for tests only.
    for_tests: BTreeSet<ModulePath>,
}

impl Modules {
    /// Reads a crate's sources: their paths below `src` with `root` (`lib.rs` or `main.rs`) among them, and their texts.
    pub(super) fn read(root: &str, sources: &[(String, String)]) -> anyhow::Result<Self> {
        let mut modules = Modules::default();
        for (file, text) in sources {
            let tokens: TokenStream = text.parse().map_err(|error| anyhow!("{error}")).context(file.clone())?;
            let index = modules.files.len();
            modules.files.push(file.clone());
            modules.names.push(BTreeSet::new());
            let path = if file == root { Vec::new() } else { module_path(file) };
            modules.declare(path.clone(), index);
            modules.walk(&path, index, tokens);
        }
        Ok(modules)
    }

    /// For each file, the files whose definitions it mentions, each with one such path.
    pub(super) fn edges(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut edges: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for mention in &self.mentions {
            let from = self.modules[&mention.module].file;
            let handed_on = mention.re_exported_as.as_ref();
            if self.is_for_tests(&mention.module) || handed_on.is_some_and(|name| !self.names[from].contains(name)) {
                continue;
            }
            if let Some(Target::Item(owner)) = self.resolve(&mention.module, &mention.path, RE_EXPORTS_MAX)
                && self.modules[&owner].file != from
                && !self.is_for_tests(&owner)
            {
                let to = self.files[self.modules[&owner].file].clone();
                edges
                    .entry(self.files[from].clone())
                    .or_default()
                    .entry(to)
                    .or_insert_with(|| mention.path.join("::"));
            }
        }
        edges
    }

    fn declare(&mut self, path: ModulePath, file: usize) {
        self.modules.entry(path).or_default().file = file;
    }

    fn is_for_tests(&self, module: &[String]) -> bool {
        (0..=module.len()).any(|end| self.for_tests.contains(&module[..end]))
    }

    /// Collects what the tokens of a module mention.
    fn walk(&mut self, module: &ModulePath, file: usize, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            if is_for_tests(&tokens[at..]) {
                at += self.skip_item(module, &tokens[at..]);
                continue;
            }
            match &tokens[at] {
                TokenTree::Ident(word) if *word == "use" => {
                    let end = tokens[at..].iter().position(|token| is_punct(token, ';'));
                    let end = end.map_or(tokens.len(), |length| at + length);
                    let is_public = ends_with_visibility(&tokens[..at]);
                    self.import(module, &tokens[at + 1..end], &mut Vec::new(), is_public);
                    at = end;
                }
                TokenTree::Ident(word) if *word == "mod" => match (tokens.get(at + 1), tokens.get(at + 2)) {
                    (Some(name), Some(TokenTree::Group(body))) => {
                        let inner = child(module, &name.to_string());
                        self.declare(inner.clone(), file);
                        self.walk(&inner, file, body.stream());
                        at += 2;
                    }
                    _ => at += 1,
                },
                TokenTree::Ident(_) => at += self.mention(module, file, &tokens, at),
                TokenTree::Group(group) => self.walk(module, file, group.stream()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
    }

    /// Notes the path that begins at a word; the result is how many of its tokens come behind the first.
    fn mention(&mut self, module: &ModulePath, file: usize, tokens: &[TokenTree], at: usize) -> usize {
        let mut path = vec![tokens[at].to_string()];
        let mut last = at;
        while is_path_separator(&tokens[last + 1..])
            && let Some(TokenTree::Ident(word)) = tokens.get(last + 3)
        {
            path.push(word.to_string());
            last += 3;
        }
        self.names[file].extend(path.iter().cloned());
        let goes_on_from_type = at >= 2 && is_path_separator(&tokens[at - 2..]);
        if path.len() > 1 && !goes_on_from_type {
            self.mentions.push(Mention {
                module: module.clone(),
                path,
                re_exported_as: None,
            });
        }
        last - at
    }

    /// Notes a tree of `use` behind a prefix.
    fn import(&mut self, module: &ModulePath, tree: &[TokenTree], prefix: &mut Vec<String>, is_public: bool) {
        let depth = prefix.len();
        let mut renamed = None;
        for (index, token) in tree.iter().enumerate() {
            match token {
                TokenTree::Ident(word) if *word == "as" => {
                    renamed = tree.get(index + 1).map(ToString::to_string);
                    break;
                }
                TokenTree::Ident(word) => prefix.push(word.to_string()),
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    for branch in inner.split(|token| is_punct(token, ',')) {
                        self.import(module, branch, prefix, is_public);
                    }
                    return prefix.truncate(depth);
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
        if prefix.len() > 1 && prefix.last().is_some_and(|last| last == "self") {
            prefix.pop();
        }
        if let Some(last) = prefix.last()
            && !tree.is_empty()
        {
            let name = renamed.unwrap_or_else(|| last.clone());
            let bindings = &mut self.modules.entry(module.clone()).or_default().bindings;
            bindings.entry(name.clone()).or_default().push(prefix.clone());
            self.mentions.push(Mention {
                module: module.clone(),
                path: prefix.clone(),
                re_exported_as: is_public.then_some(name),
            });
        }
        prefix.truncate(depth);
    }

    /// Passes an item that only tests have; the result is the number of its tokens.
    fn skip_item(&mut self, module: &ModulePath, tokens: &[TokenTree]) -> usize {
        let is_end = |token: &TokenTree| match token {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            other => is_punct(other, ';'),
        };
        let length = tokens.iter().position(is_end).map_or(tokens.len(), |last| last + 1);
        let declared = tokens[..length].iter().position(|token| is_word(token, "mod"));
        if let Some(TokenTree::Ident(name)) = declared.and_then(|at| tokens.get(at + 1)) {
            self.for_tests.insert(child(module, &name.to_string()));
        }
        length
    }

    /// Where a path leads that a module mentions; nothing when it leaves the crate.
    fn resolve(&self, module: &[String], path: &[String], re_exports: usize) -> Option<Target> {
        let (first, mut rest) = path.split_first()?;
        let mut here = match first.as_str() {
            "crate" => Vec::new(),
            "self" => module.to_vec(),
            "super" => {
                let mut here = module[..module.len().checked_sub(1)?].to_vec();
                while let Some((_, further)) = rest.split_first().filter(|(word, _)| *word == "super") {
                    here.pop()?;
                    rest = further;
                }
                here
            }
            _ => {
                // A name is a child's, or came by a `use`; otherwise it is another crate's or a type's.
                let known = self.modules.contains_key(&child(module, first))
                    || self.modules[module]
                        .bindings
                        .get(first)
                        .is_some_and(|all| !all.contains(&path.to_vec()));
                rest = path;
                known.then(|| module.to_vec())?
            }
        };
        while let Some((name, further)) = rest.split_first() {
            match self.step(&here, name, further.is_empty(), re_exports)? {
                Target::Module(next) => here = next,
                item @ Target::Item(_) => return Some(item),
            }
            rest = further;
        }
        Some(Target::Module(here))
    }

    /// What a name means in a module. At the end of a path an item goes before a module of its name.
    fn step(&self, here: &[String], name: &str, is_last: bool, re_exports: usize) -> Option<Target> {
        let bindings = self
            .modules
            .get(here)?
            .bindings
            .get(name)
            .map_or(&[][..], Vec::as_slice);
        let deeper = re_exports.checked_sub(1);
        let mut bound = Vec::new();
        for path in bindings {
            match deeper.and_then(|deeper| self.resolve(here, path, deeper)) {
                Some(target) => bound.push(target),
                None => return None,
            }
        }
        let inner = child(here, name);
        if self.modules.contains_key(&inner) {
            bound.push(Target::Module(inner));
        }
        let wanted = bound
            .iter()
            .position(|target| matches!(target, Target::Item(_)) == is_last)
            .unwrap_or(0);
        Some(match bound.is_empty() {
            true => Target::Item(here.to_vec()),
            false => bound.swap_remove(wanted),
        })
    }
}

/// The module of a file below `src`.
fn module_path(file: &str) -> ModulePath {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    stem.split('/').map(str::to_owned).collect()
}

fn child(module: &[String], name: &str) -> ModulePath {
    [module, &[name.to_owned()]].concat()
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn is_word(token: &TokenTree, wanted: &str) -> bool {
    matches!(token, TokenTree::Ident(word) if *word == wanted)
}

fn is_path_separator(tokens: &[TokenTree]) -> bool {
    tokens.len() >= 2 && tokens[..2].iter().all(|token| is_punct(token, ':'))
}

/// Whether an attribute begins here that keeps the next item for tests.
fn is_for_tests(tokens: &[TokenTree]) -> bool {
    let [hash, TokenTree::Group(attribute), ..] = tokens else {
        return false;
    };
    let text = attribute.stream().to_string();
    is_punct(hash, '#') && text.starts_with("cfg") && !text.contains("not") && {
        let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.any(|word| word == "test")
    }
}

/// Whether `pub` or `pub(…)` stands at the end.
fn ends_with_visibility(tokens: &[TokenTree]) -> bool {
    match tokens {
        [.., last] if is_word(last, "pub") => true,
        [.., word, TokenTree::Group(_)] => is_word(word, "pub"),
        _ => false,
    }
}
