//! The thread of a member that gives signs of life, as the server's does.

use seaway_tenure::{Ending, Found, interval};

use super::network::Heard;
use super::scene::Scene;
use super::shape::{Planted, plant};
use super::slot::{Pulse, Slot};

/// Gives signs of life until the run is over.
pub(super) fn run(scene: &Scene, member: usize) {
    plant(scene.planted);
    let every = Scene::ticks(interval(scene.shape.lease));
    while scene.directory.wait(every) {
        let taken = std::mem::replace(&mut *scene.slot(member), Slot::UnderWay);
        let next = match taken {
            Slot::Given(pulse) => beat(scene, member, pulse),
            other => other,
        };
        *scene.slot(member) = next;
    }
}

fn beat(scene: &Scene, member: usize, mut pulse: Pulse) -> Slot {
    let Some(holding) = pulse.holding.upgrade() else {
        return Slot::Ended(Ending::Lawful);
    };
    let waits = holding.waits_for_disk();
    let waits = waits.filter(|_| !scene.is_planted(Planted::SignsWhileCommitsHang));
    let found = pulse.signs.give(&holding, waits, || scene.instant(member));
    drop(holding);
    if scene.is_dead(member) {
        return Slot::Ended(Ending::Lawful);
    }
    match found {
        Found::Sign(_) => {
            let heard = Heard {
                server_id: pulse.server_id.clone(),
                tenure: pulse.tenure,
                at: scene.instant(member),
            };
            scene.network().beat(member, &heard);
        }
        Found::Silence(_) => scene.judge().count("signs held back"),
        Found::Unanswered(_) => {}
        Found::Unrenewable(_) => return over(scene, member, &pulse, Ending::Lawful),
        Found::Over(_, ending) => return over(scene, member, &pulse, ending),
    }
    Slot::Given(pulse)
}

/// Whatever the engine hangs in, it is no more at the bus.
fn over(scene: &Scene, member: usize, pulse: &Pulse, ending: Ending) -> Slot {
    scene.network().detach(member, pulse.tenure);
    scene.line(format_args!(
        "member {member}: tenure {} is over: {ending:?}",
        pulse.tenure
    ));
    Slot::Ended(ending)
}
