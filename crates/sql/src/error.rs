//! Why a database did not do what was asked: always with the database, and never with a password.

/// See the module.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct Error {
    /// The database, as [`Source`](crate::Source) describes it.
    pub place: String,
    /// What it, its driver or the network said.
    pub problem: String,
    /// Whether a table is asked for that is not there.
    pub is_missing_table: bool,
}

impl Error {
    pub(crate) fn new(place: &str, problem: impl Into<String>) -> Error {
        Error {
            place: place.to_owned(),
            problem: problem.into(),
            is_missing_table: false,
        }
    }

    /// With the errors behind the error: drivers tell the reason there.
    pub(crate) fn of(place: &str, action: &str, error: &dyn std::error::Error) -> Error {
        let mut problem = format!("{action}: {error}");
        let mut source = error.source();
        while let Some(error) = source {
            let text = error.to_string();
            if !problem.contains(&text) {
                problem = format!("{problem}: {text}");
            }
            source = error.source();
        }
        Error::new(place, problem)
    }
}
