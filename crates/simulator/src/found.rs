//! Seeds that failed once, with what they found; every test run repeats them. A change of what clients do or of what breaks
//! gives all of them another meaning; what each found has a test of its own in `crates/streaming/tests` (script 23, ordering).

/// Seed, and what it found.
pub const FOUND: [(u64, &str); 15] = [
    (
        12,
        "after the clock was set forward a message that was not durable yet outlived its age by up to as long again",
    ),
    (261, "the same, in a channel that nobody used"),
    (2_945, "the same, in a channel with one message"),
    (
        1_398,
        "a queue message taken over in the moment after a restart was put off as if it had been sent before it",
    ),
    (1_399, "the same, with a longer AckWait"),
    (
        180_346_626_323_721,
        "a message sent after a resume with a shorter AckWait came again only when what was resumed was due",
    ),
    (
        180_346_626_347_097,
        "a message that the record of a durable group had taken over from a departed member was lost by a crash",
    ),
    (
        1_016,
        "when the oldest message of a channel could not be read, nothing of it went by its limits before the next publish",
    ),
    (2_015, "the same, with a limit on age"),
    (
        223_340_512_315_887,
        "a segment went before the trim that had emptied it was durable: the journal did not open",
    ),
    (
        2_026_609_010,
        "copies of one segment, made twice into another, and a trim: the next start found a message in no segment",
    ),
    (
        2_026_624_617,
        "a damaged message that changed hands kept its count, and the model began anew",
    ),
    (
        3_200_006_418,
        "a turn with work for one message left spent it on the run, and the next turn as well",
    ),
    (
        3_300_039_154,
        "a damaged message that waited for room kept back those in flight that took it",
    ),
    (
        3_300_030_305,
        "a queue member that had acknowledged what was to be sent again was passed by for one whose client was failing",
    ),
];
