//! A headless Chromium, driven through chromedriver by the WebDriver protocol.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use serde_json::{Value, json};

use crate::process::Process;
use crate::{http, waiting};

/// What a step on the page may take.
const STEP_DEADLINE: Duration = Duration::from_secs(20);

/// How often keys are pressed again when what had the focus is another element by then.
const PRESS_ATTEMPTS: u32 = 5;

/// Nothing but the page is asked for, and nothing is written outside the profile.
const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
];

/// A browser with one window. Dropping it ends it.
pub struct Browser {
    driver: Process,
    port: u16,
    session: String,
}

impl Browser {
    /// Where the browser and its driver lie; `None` when the packages are not installed.
    pub fn programs() -> Option<(PathBuf, PathBuf)> {
        let find = |name: &str| {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path)
                .map(|directory| directory.join(name))
                .find(|program| program.is_file())
        };
        Some((find("chromium")?, find("chromedriver")?))
    }

    /// Starts a browser with a new profile below this directory.
    ///
    /// # Errors
    /// It does not start.
    pub fn start((chromium, driver): (PathBuf, PathBuf), directory: &Path) -> anyhow::Result<Self> {
        let mut driver = Process::new(
            "chromedriver",
            driver,
            vec!["--port=0".into()],
            "started successfully on port ",
            directory,
        );
        driver.start()?;
        let line = driver.wait_ready()?;
        let port = line
            .trim_end_matches('.')
            .rsplit(' ')
            .next()
            .and_then(|port| port.parse().ok())
            .with_context(|| format!("chromedriver said {line:?}"))?;
        let mut arguments: Vec<String> = FLAGS.map(str::to_owned).to_vec();
        arguments.push(format!("--user-data-dir={}", directory.join("profile").display()));
        arguments.push("--window-size=1280,800".into());
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"binary": chromium, "args": arguments},
        }}});
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
        };
        let session = browser.call("POST", "/session", Some(&capabilities))?;
        browser.session = text(&session["sessionId"])?;
        Ok(browser)
    }

    /// Opens an address.
    ///
    /// # Errors
    /// The browser refuses.
    pub fn open(&self, address: &str) -> anyhow::Result<()> {
        self.command("url", &json!({"url": address})).map(drop)
    }

    /// The value of an expression on the page.
    ///
    /// # Errors
    /// It throws, or the browser refuses.
    pub fn value(&self, expression: &str) -> anyhow::Result<Value> {
        let script = json!({"script": format!("return ({expression})"), "args": []});
        self.command("execute/sync", &script)
            .with_context(|| format!("evaluate {expression}"))
    }

    /// Waits until an expression on the page is true.
    ///
    /// # Errors
    /// It does not become true in time.
    pub fn wait_for(&self, expression: &str) -> anyhow::Result<()> {
        let mut last = Ok(Value::Null);
        let found = waiting::until(STEP_DEADLINE, || {
            last = self.value(expression);
            matches!(&last, Ok(value) if *value == Value::Bool(true))
        });
        ensure!(found, "the page never came to {expression}; last it was {last:?}");
        Ok(())
    }

    /// Replaces what an input holds, key by key, as a user does.
    ///
    /// # Errors
    /// There is no such input.
    pub fn fill(&self, selector: &str, content: &str) -> anyhow::Result<()> {
        let input = self.find(selector)?;
        self.command(&format!("element/{input}/clear"), &json!({}))?;
        self.command(&format!("element/{input}/value"), &json!({"text": content}))
            .map(drop)
    }

    /// Clicks where the element is.
    ///
    /// # Errors
    /// There is no such element, or another one is before it.
    pub fn click(&self, selector: &str) -> anyhow::Result<()> {
        let found = self.find(selector)?;
        self.command(&format!("element/{found}/click"), &json!({})).map(drop)
    }

    fn find(&self, selector: &str) -> anyhow::Result<String> {
        let wanted = json!({"using": "css selector", "value": selector});
        let found = self
            .command("element", &wanted)
            .with_context(|| format!("find {selector}"))?;
        let reference = found.as_object().and_then(|object| object.values().next());
        text(reference.unwrap_or(&Value::Null))
    }

    /// Pretends to be a screen of this size in pixels.
    ///
    /// # Errors
    /// The browser refuses.
    pub fn resize(&self, width: u32, height: u32, mobile: bool) -> anyhow::Result<()> {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile});
        self.developer("Emulation.setDeviceMetricsOverride", &metrics)
    }

    /// Pretends that the user prefers `light` or `dark`.
    ///
    /// # Errors
    /// The browser refuses.
    pub fn prefer(&self, scheme: &str) -> anyhow::Result<()> {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.developer("Emulation.setEmulatedMedia", &features)
    }

    /// Presses keys where the focus is; `\u{e004}` is the tabulator, `\u{e007}` enter.
    ///
    /// # Errors
    /// The browser refuses.
    pub fn press(&self, keys: &str) -> anyhow::Result<()> {
        let mut attempts = 1..=PRESS_ATTEMPTS;
        loop {
            let focused = self.call("GET", &format!("/session/{}/element/active", self.session), None)?;
            let reference = focused.as_object().and_then(|object| object.values().next());
            let element = text(reference.unwrap_or(&Value::Null))?;
            match self.command(&format!("element/{element}/value"), &json!({"text": keys})) {
                // A page that asks again may have put another one in its place, which has the focus then. Nothing was pressed.
                Err(error) if format!("{error:#}").contains("stale element") && attempts.next().is_some() => {}
                pressed => return pressed.map(drop),
            }
        }
    }

    fn developer(&self, command: &str, parameters: &Value) -> anyhow::Result<()> {
        self.command("goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
            .map(drop)
    }

    /// Writes what is to be seen into a PNG file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn screenshot(&self, file: &Path) -> anyhow::Result<()> {
        let picture = self.call("GET", &format!("/session/{}/screenshot", self.session), None)?;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text(&picture)?)
            .context("decode the screenshot")?;
        std::fs::write(file, bytes).with_context(|| format!("write {}", file.display()))
    }

    /// What the console of the page has gathered since the last time, errors of the network and of the policy included.
    ///
    /// # Errors
    /// The browser refuses.
    pub fn console(&self) -> anyhow::Result<Vec<String>> {
        let lines = self.command("se/log", &json!({"type": "browser"}))?;
        let lines = lines.as_array().context("the console is a list")?;
        lines.iter().map(|line| text(&line["message"])).collect()
    }

    fn command(&self, command: &str, body: &Value) -> anyhow::Result<Value> {
        self.call("POST", &format!("/session/{}/{command}", self.session), Some(body))
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let answer = http::request(self.port, method, path, &[], body).context("talk to chromedriver")?;
        let value = &answer.json["value"];
        if answer.status != 200 {
            bail!("chromedriver refused {path}: {}", value["message"]);
        }
        Ok(value.clone())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser is chromedriver's child and would outlive its killed parent.
        if !self.session.is_empty() {
            let _ = self.call("DELETE", &format!("/session/{}", self.session), None);
        }
        let _ = self.driver.kill();
    }
}

fn text(value: &Value) -> anyhow::Result<String> {
    match value.as_str() {
        Some(text) => Ok(text.to_owned()),
        None => bail!("expected a text, found {value}"),
    }
}
