//! What is presented to a server: user and password, a token, a signature of its challenge. Files are read anew for each connection, so
//! that they can be replaced while the server runs; by a thread that may wait for a disk, one at a time, and not for long.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use nkeys::KeyPair;
use seaway_config::{ExternalNats, OwnCredentials, Secret};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::limits::{EXTERNAL_CREDENTIALS_BYTES_MAX, EXTERNAL_CREDENTIALS_PATIENCE};

const JWT_MARK: &str = "BEGIN NATS USER JWT";
const SEED_MARK: &str = "BEGIN USER NKEY SEED";

/// Where what is presented comes from.
#[derive(Clone, Debug)]
pub(super) struct Login {
    login: OwnCredentials,
    credentials: Option<PathBuf>,
    seed: Option<PathBuf>,
    /// Whoever reads has it: a file system that hangs keeps one thread, however often it is tried.
    reader: Arc<Semaphore>,
}

/// What is presented, ready to be said.
#[derive(Default)]
pub(super) struct Presented {
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) token: Option<Secret>,
    pub(super) nkey: Option<String>,
    pub(super) jwt: Option<Secret>,
    pub(super) signature: Option<String>,
}

impl Login {
    /// That of the options; looks whether its files can be used.
    ///
    /// # Errors
    /// They cannot; what is wrong, and never what is in them.
    pub(super) fn new(options: &ExternalNats) -> Result<Login> {
        let login = Login {
            login: options.login.clone(),
            credentials: options.credentials_file.clone(),
            seed: options.nkey_seed_file.clone(),
            reader: Arc::new(Semaphore::new(1)),
        };
        login.present(&OwnCredentials::default(), "")?;
        Ok(login)
    }

    /// What [`Login::present`] says, without holding up whoever waits for it.
    ///
    /// # Errors
    /// As there, or the file is not read in time.
    pub(super) async fn present_in_time(&self, of_url: &OwnCredentials, nonce: &str) -> Result<Presented> {
        let Some(path) = self.credentials.as_ref().or(self.seed.as_ref()) else {
            return self.present(of_url, nonce);
        };
        let late = || {
            anyhow!(
                "{} is not read in time: its file system does not answer",
                path.display()
            )
        };
        let reader = Arc::clone(&self.reader).try_acquire_owned().map_err(|_| late())?;
        let (login, of_url, nonce) = (self.clone(), of_url.clone(), nonce.to_owned());
        let read = tokio::task::spawn_blocking(move || {
            let _reader = reader;
            login.present(&of_url, &nonce)
        });
        match timeout(EXTERNAL_CREDENTIALS_PATIENCE, read).await {
            Ok(outcome) => outcome.context("read what to present")?,
            Err(_) => Err(late()),
        }
    }

    /// What to present where the URL says `of_url` and the server's challenge is `nonce`. Reads files.
    ///
    /// # Errors
    /// They cannot be used; what is wrong, and never what is in them.
    pub(super) fn present(&self, of_url: &OwnCredentials, nonce: &str) -> Result<Presented> {
        if let Some(path) = &self.credentials {
            let text = read("credentials file", path)?;
            let jwt = block(&text, JWT_MARK).with_context(|| missing(path, JWT_MARK))?;
            let seed = block(&text, SEED_MARK).with_context(|| missing(path, SEED_MARK))?;
            let (_, signature) = sign(path, seed, nonce)?;
            return Ok(Presented {
                jwt: Some(Secret::new(jwt)),
                signature: Some(signature),
                ..Presented::default()
            });
        }
        if let Some(path) = &self.seed {
            let text = read("nkey_seed_file", path)?;
            let seed = block(&text, SEED_MARK).or_else(|| alone(&text));
            let seed = seed.with_context(|| {
                format!(
                    "the nkey_seed_file {} holds no seed: a line that begins with SU",
                    path.display()
                )
            })?;
            let (nkey, signature) = sign(path, seed, nonce)?;
            return Ok(Presented {
                nkey: Some(nkey),
                signature: Some(signature),
                ..Presented::default()
            });
        }
        let login = if of_url.is_empty() { &self.login } else { of_url };
        Ok(Presented {
            user: login.user.clone(),
            password: login.password.clone(),
            token: login.token.clone(),
            ..Presented::default()
        })
    }
}

fn missing(path: &Path, mark: &str) -> String {
    format!("the credentials file {} has no line -----{mark}-----", path.display())
}

fn read(what: &str, path: &Path) -> Result<String> {
    let shown = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("cannot read the {what} {shown}"))?;
    let mut text = String::new();
    let read = file.take(EXTERNAL_CREDENTIALS_BYTES_MAX + 1).read_to_string(&mut text);
    let bytes = read.with_context(|| format!("cannot read the {what} {shown}"))?;
    if bytes as u64 > EXTERNAL_CREDENTIALS_BYTES_MAX {
        bail!("the {what} {shown} has more than {EXTERNAL_CREDENTIALS_BYTES_MAX} bytes");
    }
    Ok(text)
}

/// The first line behind a mark that is none itself.
fn block<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let mut lines = text
        .lines()
        .map(str::trim)
        .skip_while(|line| !line.contains(mark))
        .skip(1);
    lines
        .find(|line| !line.is_empty())
        .filter(|line| !line.starts_with("--"))
}

/// A seed that stands in a file by itself.
fn alone(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|line| line.starts_with("SU"))
}

/// The public key of a seed, and its signature.
fn sign(path: &Path, seed: &str, nonce: &str) -> Result<(String, String)> {
    // What the library says of a seed could show it.
    let Ok(pair) = KeyPair::from_seed(seed) else {
        bail!("the seed in {} is damaged, or none of a user's key", path.display());
    };
    let Ok(signature) = pair.sign(nonce.as_bytes()) else {
        bail!("the key in {} signs nothing", path.display());
    };
    Ok((pair.public_key(), data_encoding::BASE64URL_NOPAD.encode(&signature)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    fn with(change: impl FnOnce(&mut ExternalNats)) -> Result<Login> {
        let mut options = ExternalNats::default();
        change(&mut options);
        Login::new(&options)
    }

    #[test]
    fn every_form_is_presented() {
        let pair = KeyPair::new_user();
        let seed = pair.seed().unwrap();
        let verify = |signature: Option<String>| {
            let bytes = data_encoding::BASE64URL_NOPAD
                .decode(signature.unwrap().as_bytes())
                .unwrap();
            pair.verify(b"nonce", &bytes).unwrap();
        };
        let none = OwnCredentials::default();
        let (_kept, path) = file(&format!(
            "-----BEGIN NATS USER JWT-----\neyJ.x.y\n------END NATS USER JWT------\n\nnote\n\n-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        ));
        let presented = with(|options| options.credentials_file = Some(path))
            .unwrap()
            .present(&none, "nonce")
            .unwrap();
        assert_eq!(presented.jwt.unwrap().expose(), "eyJ.x.y");
        verify(presented.signature);
        for text in [
            format!("# mine\n{seed}\n"),
            format!("-----BEGIN USER NKEY SEED-----\n{seed}\n"),
        ] {
            let (_kept, path) = file(&text);
            let presented = with(|options| options.nkey_seed_file = Some(path))
                .unwrap()
                .present(&none, "nonce")
                .unwrap();
            assert_eq!(presented.nkey, Some(pair.public_key()));
            verify(presented.signature);
        }
        let login = with(|options| options.login.user = Some("general".into())).unwrap();
        assert_eq!(login.present(&none, "").unwrap().user.as_deref(), Some("general"));
        let of_url = OwnCredentials {
            token: Some(Secret::new("t")),
            ..none
        };
        let presented = login.present(&of_url, "").unwrap();
        assert_eq!(
            (presented.user, presented.token.unwrap().expose()),
            (None, "t"),
            "the URL wins"
        );
    }

    /// A pipe that nobody writes to is a file that does not answer.
    #[tokio::test]
    async fn a_file_that_does_not_answer_holds_nobody_up() {
        let seed = KeyPair::new_user().seed().unwrap();
        let (_kept, path) = file(&seed);
        let login = with(|options| options.nkey_seed_file = Some(path.clone())).unwrap();
        let none = OwnCredentials::default();
        assert!(login.present_in_time(&none, "nonce").await.unwrap().nkey.is_some());
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        for _ in 0..3 {
            let error = login.present_in_time(&none, "nonce").await.err().unwrap().to_string();
            assert!(error.contains("is not read in time"), "{error}");
        }
        assert_eq!(login.reader.available_permits(), 0, "one thread waits");
        // Who waits is let go, and then it is read again.
        std::fs::write(&path, &seed).unwrap();
        let _reader = login.reader.acquire().await.unwrap();
    }

    #[test]
    fn what_is_wrong_is_said_without_what_is_secret() {
        let seed = KeyPair::new_user().seed().unwrap();
        let broken = format!("{}A", &seed[..seed.len() - 2]);
        for (text, expected) in [
            (String::new(), "holds no seed"),
            (broken.clone(), "is damaged"),
            (KeyPair::new_user().public_key(), "holds no seed"),
        ] {
            let (_kept, path) = file(&text);
            let error = with(|options| options.nkey_seed_file = Some(path)).unwrap_err();
            let words = format!("{error:#}");
            assert!(words.contains(expected) && !words.contains(&broken), "{words}");
        }
        let (_kept, path) = file("-----BEGIN NATS USER JWT-----\neyJ\n");
        let error = with(|options| options.credentials_file = Some(path)).unwrap_err();
        assert!(
            format!("{error:#}").contains("has no line -----BEGIN USER NKEY SEED-----"),
            "{error:#}"
        );
        let error = with(|options| options.credentials_file = Some("/nowhere".into())).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere: No such file"), "{error:#}");
    }
}
