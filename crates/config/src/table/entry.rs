//! What one row of the table of options says.

use crate::draft::Draft;
use crate::options::Personality;
use crate::value::{Kind, Value};

/// Begin of the names of all environment variables that set options.
pub(crate) const VARIABLE_PREFIX: &str = "SEAWAY_";

/// Puts a value into the options, or says why the server cannot start with it.
pub(crate) type Set = fn(&mut Draft, &Value) -> Result<(), String>;

/// Says why the original would not start with a value.
pub(crate) type Check = fn(&Value) -> Result<(), String>;

/// What this server does with an option.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Effect {
    /// Sets an option; its default is applied the same way.
    Sets(Set),
    /// Sets options after all others, and only when given.
    Overrides(Set),
    /// Sets an option of the connection to NATS servers of somebody else; without such servers it is accepted and logged as having
    /// no effect.
    Toward(Set),
    /// Accepted and logged as having no effect, for the reason given.
    Nothing(&'static str),
    /// The same, but the file store refuses what the original's refuses.
    Tuning(&'static str, Check),
    /// Refused unless it says what is the default anyway: this build does not have what is named.
    NotBuilt(&'static str),
    /// Prints something instead of starting.
    Prints(Information),
}

/// What an information flag prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Information {
    /// Usage.
    Help,
    /// Version line.
    Version,
    /// Help on TLS.
    TlsHelp,
}

/// Section of the usage text and the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Streaming,
    Limits,
    FileStore,
    Archive,
    SqlStore,
    Encryption,
    FaultTolerance,
    Clustering,
    External,
    StreamingTls,
    ChannelLimits,
    Server,
    BrokerLimits,
    Logging,
    Security,
    Routes,
    OtherModes,
    Information,
}

impl Group {
    /// All groups in the order in which they are shown.
    pub(crate) const ALL: [Group; 18] = [
        Group::Streaming,
        Group::Limits,
        Group::ChannelLimits,
        Group::FileStore,
        Group::Archive,
        Group::Server,
        Group::BrokerLimits,
        Group::Logging,
        Group::Information,
        Group::SqlStore,
        Group::Encryption,
        Group::FaultTolerance,
        Group::Clustering,
        Group::External,
        Group::StreamingTls,
        Group::Security,
        Group::Routes,
        Group::OtherModes,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Group::Streaming => "Streaming",
            Group::Limits => "Streaming limits",
            Group::ChannelLimits => "Limits of single channels",
            Group::FileStore => "Streaming file store",
            Group::Archive => "Archive of the file store",
            Group::SqlStore => "Streaming SQL store",
            Group::Encryption => "Streaming encryption",
            Group::FaultTolerance => "Streaming fault tolerance",
            Group::Clustering => "Streaming clustering",
            Group::External => "External NATS servers",
            Group::StreamingTls => "TLS toward external NATS servers",
            Group::Server => "Server",
            Group::BrokerLimits => "Limits and timers of the broker",
            Group::Logging => "Logging",
            Group::Security => "Authentication and TLS",
            Group::Routes => "Routes",
            Group::OtherModes => "Other modes of the broker",
            Group::Information => "Information",
        }
    }
}

/// Where in a file a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Section {
    /// At the top, for the broker.
    Broker,
    /// In the `streaming` block, or at the top when there is none.
    Streaming,
    /// In a block of the streaming section: limits.
    Limits,
    /// File store.
    File,
    /// SQL store.
    Sql,
    /// Streaming clustering.
    Cluster,
    /// TLS of the streaming engine's own connections.
    Tls,
}

impl Section {
    /// The blocks within the streaming section.
    pub(crate) const BLOCKS: [Section; 5] = [
        Section::Limits,
        Section::File,
        Section::Sql,
        Section::Cluster,
        Section::Tls,
    ];

    /// Names of the block, the usual one first; none for what is no block of the streaming section.
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Section::Broker | Section::Streaming => &[],
            Section::Limits => &["store_limits", "limits", "storelimits"],
            Section::File => &["file", "file_options"],
            Section::Sql => &["sql", "sql_options"],
            Section::Cluster => &["cluster"],
            Section::Tls => &["tls"],
        }
    }

    /// Path before a key in the documentation.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Section::Broker => "",
            Section::Streaming => "streaming.",
            Section::Limits => "streaming.store_limits.",
            Section::File => "streaming.file.",
            Section::Sql => "streaming.sql.",
            Section::Cluster => "streaming.cluster.",
            Section::Tls => "streaming.tls.",
        }
    }

    /// Whether the section belongs to the streaming engine.
    pub(crate) fn is_streaming(self) -> bool {
        self != Section::Broker
    }
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// All flags, equal in status; none when only files and the environment set the option.
    pub(crate) flags: &'static [&'static str],
    pub(crate) section: Section,
    /// All keys in that section, the usual one first; none when no file sets the option.
    pub(crate) keys: &'static [&'static str],
    pub(crate) kind: Kind,
    pub(crate) group: Group,
    /// Default of `nats-streaming-server`, in the notation of flags; an empty text is an absent value.
    pub(super) original: &'static str,
    /// Default of `seaway`.
    pub(super) seaway: &'static str,
    pub(crate) help: &'static str,
    pub(crate) effect: Effect,
    /// Whether zero and below mean the default.
    pub(crate) is_positive: bool,
    /// Whether it protects something, so that an empty text is no way to leave it out.
    pub(crate) is_secret: bool,
    has_variable: bool,
}

impl Entry {
    pub(super) const fn new(
        group: Group,
        flags: &'static [&'static str],
        kind: Kind,
        default: &'static str,
        help: &'static str,
        effect: Effect,
    ) -> Self {
        Entry {
            flags,
            section: Section::Broker,
            keys: &[],
            kind,
            group,
            original: default,
            seaway: default,
            help,
            effect,
            is_positive: false,
            is_secret: false,
            has_variable: !matches!(kind, Kind::Block) && !matches!(effect, Effect::Prints(_)),
        }
    }

    /// The same option with another default in `seaway`.
    pub(super) const fn seaway(mut self, default: &'static str) -> Self {
        self.seaway = default;
        self
    }

    /// The same option with keys in files.
    pub(super) const fn keys(mut self, section: Section, keys: &'static [&'static str]) -> Self {
        self.section = section;
        self.keys = keys;
        self
    }

    /// The same option, for which zero and below mean the default, as in the original.
    pub(super) const fn positive(mut self) -> Self {
        self.is_positive = true;
        self
    }

    /// The same option, which is refused when it is given and empty: a secret that was not filled in protects nothing.
    pub(super) const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    /// The same option, out of reach of environment variables.
    pub(super) const fn without_variable(mut self) -> Self {
        self.has_variable = false;
        self
    }

    /// Default in the notation of flags.
    pub(crate) fn default(&self, personality: Personality) -> &'static str {
        match personality {
            Personality::Seaway => self.seaway,
            Personality::NatsStreamingServer => self.original,
        }
    }

    /// Name used when one has to be chosen: of flags the longest is the clearest, of keys the first is the usual one.
    pub(crate) fn long_name(&self) -> &'static str {
        let longest = self.flags.iter().max_by_key(|name| name.len());
        longest.or(self.keys.first()).copied().unwrap_or_default()
    }

    /// Name of the environment variable that sets the option.
    pub(crate) fn variable(&self) -> Option<String> {
        self.has_variable
            .then(|| format!("{VARIABLE_PREFIX}{}", self.long_name().to_uppercase()))
    }
}
