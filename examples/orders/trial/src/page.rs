//! The live page in a real browser: orders appear and move, the form places one and shows what is wrong with another, what
//! users typed stays text, a lost connection is made anew, a thousand orders leave it bounded and still.

use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::evidence;
use crate::load::Load;
use crate::system::{Backend, Programs, System};
use seaway_trial::browser::Browser;

/// Orders that flow while the page is open.
const ORDERS: u32 = 1000;

/// A name that would run a script if the page took it for markup.
const HOSTILE: &str = "<img src=x onerror=\"document.title='taken over'\">";

/// Cards and rows that the page may hold, whatever has happened.
const CARDS_MAX: u64 = 200;
const ROWS_MAX: u64 = 200;

/// What a task of the page's thread may take while everything runs on two cores, in milliseconds.
const TASK_MAX: f64 = 1000.0;

/// The read model lags behind the log: an order that the page has just heard of may not be found yet.
const LAG: &str = "/api/orders/";

/// Orders whose cards are on the board.
const BOARD_LOOKS_FULL: u32 = 120;

/// Runs the check; an error says what the page did instead. Pictures go to the directory `pictures`.
pub(crate) fn run(programs: &Programs, directory: &Path, pictures: &Path) -> anyhow::Result<()> {
    let chromium = Browser::programs().context("chromium and chromedriver are not installed")?;
    std::fs::create_dir_all(pictures).context("make the directory of the pictures")?;
    let mut system = System::start(programs, &Backend::Sqlite(directory), directory)?;
    let browser = Browser::start(chromium, directory)?;
    let outcome = check(&mut system, &browser, pictures);
    if outcome.is_err() {
        let _ = browser.screenshot(&pictures.join("failed.png"));
        println!("page: console {:?}\n{}", browser.console(), system.tails());
    }
    outcome
}

fn check(system: &mut System, browser: &Browser, pictures: &Path) -> anyhow::Result<()> {
    browser.open(&system.page())?;
    browser.wait_for("document.querySelector('#connection').textContent === 'live'")?;
    browser.value("window.tasks = [], new PerformanceObserver(list => tasks.push(...list.getEntries().map(e => e.duration))).observe({type: 'longtask'})")?;

    the_form_places_an_order(browser).context("the form")?;
    what_is_wrong_is_shown(browser).context("validation")?;
    console_is_clean(browser, &[LAG, "422"])?;

    a_lost_connection_is_made_anew(system, browser).context("reconnecting")?;
    // The failed attempts are on record; what comes now must be clean again.
    browser.console()?;

    let seed = fastrand::u64(..);
    let load = Load::new(system.http_port, seed, ORDERS);
    load.run(|| {
        load.allow(BOARD_LOOKS_FULL);
        load.wait_for(BOARD_LOOKS_FULL)?;
        browser.wait_for("document.querySelectorAll('.column[data-status=paid] .card').length > 5")?;
        pictures_of(browser, pictures)
    })?;
    let (accepted, _) = load.finish();
    // One by the form, one too large by the form, one while the page was away.
    evidence::settle(system, accepted.len() + 3)?;
    a_thousand_orders_leave_it_still(browser).context("a thousand orders")?;
    console_is_clean(browser, &[LAG])?;
    println!(
        "page: the form, validation, reconnecting, hostile names and {ORDERS} orders in Chromium; pictures in {}",
        pictures.display()
    );
    Ok(())
}

fn the_form_places_an_order(browser: &Browser) -> anyhow::Result<()> {
    browser.fill("#customer", HOSTILE)?;
    browser.fill("[data-field='items[0].quantity']", "2")?;
    browser.click("#submit")?;
    browser.wait_for("document.querySelector('#outcome').dataset.state === 'done'")?;
    let paid = "[...document.querySelectorAll('.column[data-status=paid] .customer')]";
    browser.wait_for(&format!("{paid}.some(name => name.textContent === {HOSTILE:?})"))?;
    browser.wait_for("document.querySelector('.column[data-status=paid] .count').textContent === '1'")?;
    // Its way is in the log beside the board.
    for event in ["OrderCreated", "OrderApproved", "OrderPaymentDebited"] {
        browser.wait_for(&format!(
            "[...document.querySelectorAll('#log .event')].some(cell => cell.textContent === '{event}')"
        ))?;
    }
    browser.click(".column[data-status=paid] .card button")?;
    browser.wait_for("document.querySelectorAll('#details[open] .history tbody tr').length === 3")?;
    browser.wait_for(&format!(
        "document.querySelector('#details dl').textContent.includes({HOSTILE:?})"
    ))?;
    browser.click("#details button")?;
    stays_text(browser)
}

fn stays_text(browser: &Browser) -> anyhow::Result<()> {
    let images = browser.value("document.querySelectorAll('img').length")?;
    let title = browser.value("document.title")?;
    ensure!(
        images == 0 && title != "taken over",
        "a customer's name became markup: {images} images, title {title}"
    );
    Ok(())
}

fn what_is_wrong_is_shown(browser: &Browser) -> anyhow::Result<()> {
    browser.fill("#customer", "zoe")?;
    browser.fill("[data-field='items[0].quantity']", "0")?;
    browser.click("#submit")?;
    browser.wait_for(
        "document.querySelector('[data-field=\"items[0].quantity\"]').getAttribute('aria-invalid') === 'true'",
    )?;
    browser.wait_for("document.querySelector('#items .error').textContent.length > 5")?;
    // And what no server need be asked for.
    browser.fill("[data-field='items[0].unit_price_cents']", "much")?;
    browser.click("#submit")?;
    browser.wait_for(
        "document.querySelector('[data-field=\"items[0].unit_price_cents\"]').getAttribute('aria-invalid') === 'true'",
    )?;
    // Too many dishes are a matter of the restaurant, not of the form.
    browser.fill("[data-field='items[0].unit_price_cents']", "4.50")?;
    browser.fill("[data-field='items[0].quantity']", "21")?;
    browser.click("#submit")?;
    browser.wait_for("document.querySelectorAll('.column[data-status=rejected] .card').length === 1")?;
    browser.wait_for("document.querySelectorAll('#place .error').length === 0")
}

fn a_lost_connection_is_made_anew(system: &mut System, browser: &Browser) -> anyhow::Result<()> {
    let port = system.http_port;
    let service = system.process("order-service")?;
    service.kill()?;
    browser.wait_for("document.querySelector('#connection').textContent === 'reconnecting'")?;
    browser.fill("[data-field='items[0].quantity']", "3")?;
    browser.click("#submit")?;
    browser.wait_for("document.querySelector('#outcome').dataset.state === 'failed'")?;
    service.start()?;
    service.wait_ready()?;
    let before = "document.querySelectorAll('.column[data-status=paid] .card').length";
    ensure!(browser.value(before)? == 1, "the board has lost its cards");
    // The same button, the same key: the order comes once, and the page follows again by itself.
    browser.click("#submit")?;
    browser.wait_for("document.querySelector('#connection').textContent === 'live'")?;
    browser.wait_for("document.querySelectorAll('.column[data-status=paid] .card').length === 2")?;
    let counts = seaway_trial::http::get(port, "/api/orders?limit=1")?.json["counts"].clone();
    ensure!(
        counts["paid"] == 2,
        "two orders were paid, the read model counts {counts}"
    );
    Ok(())
}

fn pictures_of(browser: &Browser, pictures: &Path) -> anyhow::Result<()> {
    for scheme in ["light", "dark"] {
        browser.prefer(scheme)?;
        browser.screenshot(&pictures.join(format!("orders-{scheme}.png")))?;
    }
    browser.prefer("light")?;
    browser.resize(390, 844, true)?;
    let fits = "document.documentElement.scrollWidth <= window.innerWidth";
    ensure!(
        browser.value(fits)? == true,
        "the page is wider than a phone: {}",
        browser.value("document.documentElement.scrollWidth")?
    );
    browser.screenshot(&pictures.join("orders-phone.png"))?;
    browser.resize(1280, 800, false)
}

fn a_thousand_orders_leave_it_still(browser: &Browser) -> anyhow::Result<()> {
    let sum = "[...document.querySelectorAll('.count')].reduce((sum, count) => sum + Number(count.textContent), 0)";
    browser.wait_for(&format!("{sum} === {}", ORDERS + 3))?;
    for (what, selector, max) in [("cards", ".card", CARDS_MAX), ("rows", "#log tbody tr", ROWS_MAX)] {
        let count = browser.value(&format!("document.querySelectorAll('{selector}').length"))?;
        let count = count.as_u64().context("a count")?;
        ensure!(count > 0 && count <= max, "the page holds {count} {what}");
    }
    let undescribed =
        "[...document.querySelectorAll('.card .customer')].filter(name => name.textContent === '…').length";
    browser.wait_for(&format!("{undescribed} === 0"))?;
    let longest = browser.value("Math.max(0, ...tasks)")?.as_f64().context("a duration")?;
    ensure!(longest <= TASK_MAX, "a task of the page took {longest} ms");
    let scrolled = browser.value("window.scrollY")?;
    ensure!(scrolled == 0, "the page jumped to {scrolled}");
    stays_text(browser)
}

/// Refused resources, broken policies and exceptions are all written to the console.
fn console_is_clean(browser: &Browser, allowed: &[&str]) -> anyhow::Result<()> {
    let lines = browser.console()?;
    let other = lines
        .iter()
        .find(|line| !allowed.iter().any(|text| line.contains(text)));
    ensure!(other.is_none(), "the console says {other:?}");
    Ok(())
}
