//! Orders to begin with: the same every time, some of which no restaurant takes.

use serde_json::{Value, json};

const CUSTOMERS: [&str; 5] = ["ann", "ben", "cem", "dora", "eli"];
const RESTAURANTS: [&str; 4] = ["Blue Door", "Old Mill", "Harbour", "Night Owl"];
const DISHES: [(&str, &str, i64); 4] = [
    ("M1", "Soup", 450),
    ("M2", "Bread", 120),
    ("M3", "Curry", 1180),
    ("M4", "Tea", 250),
];

/// The body of the request for an order.
pub(super) fn order(number: u32) -> Value {
    let index = number as usize;
    let dish = |offset: usize, quantity: u32| {
        let (code, name, unit_price_cents) = DISHES[(index + offset) % DISHES.len()];
        json!({ "code": code, "name": name, "unit_price_cents": unit_price_cents, "quantity": quantity })
    };
    // A party now and then: more than a kitchen takes.
    let quantity = if number % 10 == 9 { 25 } else { 1 + number % 3 };
    // One restaurant is closed; few try.
    let restaurant = if number % 8 == 5 { 3 } else { index % 3 };
    json!({
        "customer": CUSTOMERS[index % CUSTOMERS.len()],
        "restaurant": RESTAURANTS[restaurant],
        "items": [dish(0, quantity), dish(1, 1)],
    })
}
