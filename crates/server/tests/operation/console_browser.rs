//! The console in a real browser: every page with few and with very many channels, a login, messages, changes, hostile names, and the
//! keyboard alone. Pictures of it go to `target/console`.

use std::path::{Path, PathBuf};

use crate::support::{PATIENCE, Server};
use anyhow::{Context as _, ensure};
use seaway_bench::stan::{Session, subscription};
use seaway_trial::browser::Browser;

/// Would run a script if a page took it for markup.
const HOSTILE: &str = "<img/src=x/onerror=\"document.title='taken'\">";

/// Channels of the large server.
const MANY: usize = 100_000;

const PAGES: [(&str, &str); 7] = [
    ("", "Overview"),
    ("channels", "Channels"),
    ("durables", "Durables and queue groups"),
    ("clients", "Clients"),
    ("connections", "Connections"),
    ("members", "Members"),
    ("audit", "Changes"),
];

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

const USERS: &str = r#"
    authorization { users = [
        { user: ada, password: "pw1", permissions: {
            publish: { allow: [">", "$SEAWAY.api.*.read.>", "$SEAWAY.api.*.change.>"] } } }
        { user: app, password: pw }
    ], timeout: 10 }
    no_auth_user: app
    streaming { store_limits { max_channels: 0 } }
"#;

fn pictures() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let pictures = target.join("console");
    std::fs::create_dir_all(&pictures).unwrap();
    pictures
}

/// Runs a check in a browser; what was to be seen at the end is kept when it fails.
fn in_a_browser(name: &str, check: impl FnOnce(&Server, &Browser, &Console<'_>) -> anyhow::Result<()>) {
    let Some(chromium) = Browser::programs() else {
        eprintln!("\n*** SKIPPED: {name}, for chromium and chromedriver are not installed ***\n");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let server = Server::configured(directory.path(), USERS, &[]).unwrap_or_else(|log| panic!("not ready: {log:#?}"));
    let browser = Browser::start(chromium, directory.path()).unwrap();
    let address = server.monitoring.clone().unwrap();
    let console = Console {
        browser: &browser,
        address: format!("http://{address}/console/"),
    };
    let outcome = check(&server, &browser, &console);
    if outcome.is_err() {
        let _ = browser.screenshot(&pictures().join(format!("{name}-failed.png")));
        let seen = browser.value("document.body.innerText");
        panic!("{outcome:?}\n{seen:?}\n{:?}", browser.console());
    }
}

struct Console<'b> {
    browser: &'b Browser,
    address: String,
}

impl Console<'_> {
    /// Opens a page of the console and waits until it shows what it is of.
    fn page(&self, path: &str, head: &str) -> anyhow::Result<()> {
        self.browser.open(&format!("{}#/{path}", self.address))?;
        self.has("h1", head)
    }

    /// Waits until an element has this text in it.
    fn has(&self, selector: &str, text: &str) -> anyhow::Result<()> {
        let (selector, text) = (quoted(selector), quoted(text));
        self.browser.wait_for(&format!(
            "[...document.querySelectorAll({selector})].some((one) => one.textContent.includes({text}))"
        ))
    }

    /// Presses the button with this text.
    fn press(&self, scope: &str, text: &str) -> anyhow::Result<()> {
        let found = format!(
            "[...document.querySelectorAll({})].find((one) => one.textContent === {})",
            quoted(&format!("{scope} button")),
            quoted(text)
        );
        self.browser.wait_for(&format!("Boolean({found})"))?;
        self.browser.value(&format!("({found}).click() || true")).map(drop)
    }

    /// Waits until a button leads nowhere, or somewhere.
    fn disabled(&self, text: &str, expected: bool) -> anyhow::Result<()> {
        self.browser.wait_for(&format!(
            "[...document.querySelectorAll('main button')].some((one) => one.textContent === {} && one.disabled === {expected})",
            quoted(text)
        ))
    }

    /// Has the dialog say what a change would do, and makes it.
    fn look_and(&self, accept: &str) -> anyhow::Result<()> {
        self.press("dialog", "What would it do?")?;
        let button = format!(
            "[...document.querySelectorAll('dialog button')].some((one) => one.textContent === {} && !one.disabled)",
            quoted(accept)
        );
        self.browser.wait_for(&button)?;
        self.press("dialog", accept)
    }

    fn log_in(&self, password: &str) -> anyhow::Result<()> {
        self.browser.fill("dialog input[autocomplete=username]", "ada")?;
        self.browser.fill("dialog input[type=password]", password)?;
        self.press("dialog", "Log in")
    }

    /// Nothing was refused by the policy, and nothing failed but what is expected to.
    fn is_clean(&self, expected: &[&str]) -> anyhow::Result<()> {
        let lines = self.browser.console()?;
        let odd: Vec<&String> = lines
            .iter()
            .filter(|line| !expected.iter().any(|part| line.contains(part)))
            .collect();
        ensure!(odd.is_empty(), "{odd:?}");
        Ok(())
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[test]
fn every_page_of_an_empty_server_and_of_one_with_a_hundred_thousand_channels() {
    in_a_browser("pages", |server, browser, console| {
        for (path, head) in PAGES {
            console.page(path, head).with_context(|| format!("{head}, empty"))?;
        }
        console.page("", "Overview")?;
        console.has(".health", "Ready. It does its work.")?;
        console.is_clean(&[])?;
        let mut session = server.session("filler");
        for number in 0..MANY {
            session.publish_async(&format!("many.{number:06}"), b"x");
            if number % 1000 == 999 {
                for _ in 0..1000 {
                    let acknowledged = session.next_pub_ack(PATIENCE)?;
                    ensure!(acknowledged.error.is_empty(), "{acknowledged:?}");
                }
            }
        }
        for (path, head) in PAGES {
            console.page(path, head).with_context(|| format!("{head}, full"))?;
        }
        console.page("channels", "Channels")?;
        console.has("main", "1 to 100 of 100,000")?;
        console.disabled("Previous", true)?;
        console.disabled("Next", false)?;
        console.press("main", "Next")?;
        console.has("td a", "many.000150")?;
        console.disabled("Previous", false)?;
        browser.fill("input[type=search]", "many.0999")?;
        console.has("main", "1 to 100 of 100")?;
        console.disabled("Next", true)?;
        console.disabled("Previous", true)?;
        console.press("th", "Last")?;
        console.has("th[aria-sort=descending]", "Last")?;
        browser.screenshot(&pictures().join("channels.png"))?;
        console.is_clean(&[])
    });
}

#[test]
fn somebody_logs_in_looks_at_messages_and_changes_things() {
    in_a_browser("changes", |server, browser, console| {
        let mut session = server.session("shop");
        for number in 1..=40 {
            session.publish(
                "orders",
                format!("{{\"order\":{number},\"note\":\"{HOSTILE}\"}}")
                    .replace("=\"", "='")
                    .as_bytes(),
            )?;
        }
        let mut durable = subscription("orders");
        durable.durable_name = HOSTILE.into();
        durable.start_position = 3;
        durable.max_in_flight = 3;
        session.subscribe(durable)?;
        console.page("channel/orders", "orders")?;
        console.has("main", "Log in to see messages.")?;

        console.press("header", "Log in")?;
        console.log_in("wrong")?;
        console.has("dialog .failure", "does not know this user")?;
        console.log_in("pw1")?;
        console.has("#person", "ada")?;
        console.is_clean(&["403"])?;

        console.has(".message strong", "#40")?;
        console.has(".message pre", "onerror=")?;
        console.disabled("Newer", true)?;
        console.press("main", "Older")?;
        console.has(".message strong", "#1")?;
        console.disabled("Older", true)?;
        console.disabled("Newer", false)?;
        console.press("main", "Changes ↓")?;
        browser.wait_for("document.activeElement.textContent === 'Changes'")?;
        browser.screenshot(&pictures().join("channel.png"))?;

        console.press("main", "Publish a message")?;
        browser.fill("dialog textarea", "by hand")?;
        console.press("dialog", "Publish")?;
        console.has(".outcome", "Published")?;
        console.press("main", "Last")?;
        console.has(".message pre", "by hand")?;

        // What is no text is shown by its bytes.
        session.publish("binary", &[0, 255, 16, 65])?;
        console.page("channel/binary", "binary")?;
        console.has(".message pre", "00 ff 10 41")?;
        console.page("channel/orders", "orders")?;

        console.press("main", "Purge")?;
        console.press("dialog", "What would it do?")?;
        console.has("dialog", "41 messages would go")?;
        console.press("dialog", "Cancel")?;
        console.press("main", "Purge")?;
        browser.fill("dialog input", "1,000")?;
        console.press("dialog", "What would it do?")?;
        console.has("dialog .failure", "no whole number")?;
        ensure!(
            browser.value("[...document.querySelectorAll('dialog button')].at(-1).disabled")? == true,
            "purged unseen"
        );
        browser.fill("dialog input", "10")?;
        console.look_and("Purge")?;
        console.has(".outcome", "10 messages went; the channel begins at 11")?;

        console.press("main", "Set limits")?;
        browser.fill("dialog input", "100")?;
        console.look_and("Set")?;
        console.has("main dd", "100 – set by an operator")?;

        console.page("durables", "Durables")?;
        console.has("td a", HOSTILE)?;
        browser.click("td:nth-child(2) a")?;
        console.has(".badge", "stalled")?;
        browser.screenshot(&pictures().join("durable.png"))?;
        console.press("main", "Move")?;
        browser.fill("dialog input", "end")?;
        console.look_and("Move")?;
        console.has(".outcome", "Moved from")?;
        console.has(".badge", "nothing new")?;

        console.press("main", "Pause")?;
        console.look_and("Pause")?;
        console.has(
            ".outcome",
            "1 active subscription with 0 unacknowledged messages is paused",
        )?;
        console.has("section p", "is paused by User \"ada\"")?;
        browser.screenshot(&pictures().join("paused.png"))?;
        console.page("channel/orders", "orders")?;
        console.has("td .badge", "paused")?;
        console.press("td", "Resume")?;
        console.look_and("Resume")?;
        console.has(".outcome", "is resumed")?;
        console.has("td button", "Pause")?;

        console.page("audit", "Changes")?;
        console.has("td", "resumed durable")?;
        console.has("td", "purged 10 messages")?;
        browser.fill("input[type=search]", "nobody")?;
        console.has("td", "No change is remembered.")?;
        browser.screenshot(&pictures().join("audit.png"))?;

        console.page("client/shop", "shop")?;
        console.press("main", "Disconnect")?;
        console.look_and("Disconnect")?;
        console.has(".outcome", "1 subscription ended")?;
        ensure!(
            browser.value("document.title")? != "taken",
            "a name has become a script"
        );

        console.press("#person", "Log out")?;
        console.has("#person", "Log in")?;
        // The client has gone, and the page asks for it.
        console.is_clean(&["404"])
    });
}

#[test]
fn the_keyboard_alone_is_enough() {
    in_a_browser("keyboard", |server, browser, console| {
        let mut session = server.session("shop");
        session.publish("orders", b"x")?;
        console.page("", "Overview")?;
        // The way past the navigation leads to the content, and stays on the page.
        browser.value("document.querySelector('.skip').focus()")?;
        browser.press(ENTER)?;
        browser.wait_for("document.activeElement.id === 'content'")?;
        console.has("h1", "Overview")?;
        browser.value("document.activeElement.blur()")?;
        browser.press(TAB)?;
        let focused = |expression: &str| browser.value(&format!("document.activeElement.{expression}"));
        // From the content on: around the page to its first word.
        for _ in 0..30 {
            if focused("textContent")? == "Channels" {
                break;
            }
            browser.press(TAB)?;
        }
        ensure!(focused("textContent")? == "Channels", "the navigation is never reached");
        browser.press(ENTER)?;
        console.has("h1", "Channels")?;
        console.has("td a", "orders")?;
        for _ in 0..30 {
            if focused("textContent")? == "orders" {
                break;
            }
            browser.press(TAB)?;
        }
        ensure!(focused("textContent")? == "orders", "a channel is never reached");
        browser.press(ENTER)?;
        console.has("h1", "orders")?;
        console.is_clean(&[])
    });
}

#[test]
fn it_is_readable_by_day_at_night_and_on_a_phone() {
    in_a_browser("looks", |server, browser, console| {
        let mut sessions: Vec<Session> = (0..5)
            .map(|number| server.session(&format!("client-{number}")))
            .collect();
        for (number, session) in sessions.iter_mut().enumerate() {
            for channel in 0..20 {
                session.publish(&format!("shop.{channel}.orders"), b"{\"id\":1}")?;
            }
            session.subscribe(subscription(&format!("shop.{number}.orders")))?;
        }
        for (scheme, width, is_mobile) in [
            ("light", 1280, false),
            ("dark", 1280, false),
            ("light", 390, true),
            ("dark", 390, true),
        ] {
            browser.resize(width, 900, is_mobile)?;
            browser.prefer(scheme)?;
            for (path, head) in PAGES.into_iter().chain([("channel/shop.1.orders", "shop.1.orders")]) {
                console.page(path, head)?;
                console.has("main", head)?;
                let wide = browser.value("document.documentElement.scrollWidth > innerWidth")?;
                ensure!(wide == false, "{head} is wider than {width} pixels");
                let name = path.replace('/', "-");
                browser.screenshot(&pictures().join(format!("{name}-{scheme}-{width}.png")))?;
            }
        }
        let contrast = browser.value(CONTRAST)?;
        ensure!(
            contrast.as_array().is_some_and(Vec::is_empty),
            "too little contrast: {contrast}"
        );
        console.is_clean(&[])
    });
}

/// Texts whose colour is too near to what is behind them (4.5 to 1 is asked of small ones).
const CONTRAST: &str = r"(() => {
    const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, index) => sum + v * [0.2126, 0.7152, 0.0722][index], 0);
    const ground = (element) => {
        for (let one = element; one; one = one.parentElement) {
            const colour = channels(getComputedStyle(one).backgroundColor);
            if (colour.length === 3 || colour[3] > 0) return colour;
        }
        return [255, 255, 255];
    };
    const found = [];
    for (const element of document.querySelectorAll('body *')) {
        if (![...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
        if (!element.getClientRects().length) continue;
        const [a, b] = [light(channels(getComputedStyle(element).color)), light(ground(element))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) found.push(`${element.tagName} ${element.textContent.slice(0, 20)} ${ratio.toFixed(1)}`);
    }
    return found;
})()";
