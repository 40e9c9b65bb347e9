//! What goes wrong beside what happens at single operations: disks that are slow or hang, processes that are stopped, networks that are cut.

use seaway_journal::disk::simulated::members::{Chances, Weather};

use super::scene::Scene;
use super::shape::Fate;

/// Makes things happen until they are to end.
pub(super) fn run(scene: &Scene) {
    match scene.shape.fate {
        Fate::Random(calm) => anything(scene, calm),
        Fate::SlowForAll(from, most) => {
            scene.directory.wait(from);
            (0..scene.shape.members).for_each(|member| from_now_on(scene, member, Weather::SlowWrites(most)));
        }
        Fate::HangsInSegments(from) => {
            scene.directory.wait(from);
            let serves = (0..scene.shape.members).find(|member| scene.network().is_served_by(*member));
            if let Some(member) = serves {
                from_now_on(scene, member, Weather::HangsIn("segment-"));
            }
        }
    }
    if scene
        .directory
        .wait(scene.shape.faults_until.saturating_sub(scene.directory.now()))
    {
        heal(scene);
    }
}

fn from_now_on(scene: &Scene, member: usize, weather: Weather) {
    scene.line(format_args!("the disk of member {member} from now on: {weather:?}"));
    let until = scene.shape.faults_until;
    scene.directory.set_weather(member, Some((weather, until)));
}

fn anything(scene: &Scene, calm: u64) {
    let lease = Scene::ticks(scene.shape.lease);
    let random = |bound: u64| scene.directory.random(bound);
    while scene.directory.wait(1 + random(calm)) && scene.directory.now() < scene.shape.faults_until {
        let member = random(scene.shape.members as u64) as usize;
        match random(12) {
            0..2 => stop(scene, member, 1 + random(4 * lease)),
            2 => {
                // For all, as where the file system is slow itself.
                let until = scene.directory.now() + random(20 * lease);
                let most = 1 + random(lease / 8);
                scene.line(format_args!("the disk is slow for all until {until}: {most}"));
                scene.judge().count("disks slow for all");
                for member in 0..scene.shape.members {
                    scene.directory.set_weather(member, Some((Weather::Slow(most), until)));
                }
            }
            3..7 => weather(scene, member, lease),
            7 => {
                scene.line(format_args!("clients do not reach member {member}"));
                scene.judge().count("clients cut off");
                scene.network().cut_off.insert(member);
            }
            8 => {
                let other = random(scene.shape.members as u64) as usize;
                scene.line(format_args!("member {other} does not hear member {member}"));
                scene.judge().count("heartbeats cut off");
                scene.network().deaf.insert((member, other));
            }
            9..11 => scene.network().mend(),
            _ => {
                scene.line(format_args!("member {member} is killed"));
                scene.directory.kill(member);
                scene.network().hang_up(member);
            }
        }
    }
}

fn stop(scene: &Scene, member: usize, ticks: u64) {
    scene.line(format_args!("member {member} is stopped for {ticks}"));
    scene.judge().count("members stopped");
    scene.directory.stop(member, ticks);
}

fn weather(scene: &Scene, member: usize, lease: u64) {
    let random = |bound: u64| scene.directory.random(bound);
    let until = scene.directory.now() + random(6 * lease);
    let (weather, what) = match random(5) {
        0 => (Weather::Slow(1 + random(lease)), "disks slow"),
        1 => (Weather::SlowWrites(1 + random(2 * lease)), "disks slow in writing"),
        2 => (Weather::Hangs, "disks that hang"),
        3 => (Weather::HangsIn("segment-"), "disks that hang in segments"),
        _ => (Weather::HangsIn(".claim"), "disks that hang in claims"),
    };
    scene.line(format_args!("the disk of member {member} until {until}: {weather:?}"));
    scene.judge().count(what);
    scene.directory.set_weather(member, Some((weather, until)));
}

fn heal(scene: &Scene) {
    scene.line(format_args!("everything heals"));
    scene.directory.set_chances(Chances {
        pause_one_in: 0,
        kill_one_in: 0,
        power_loss_one_in: 0,
        failed_sync_one_in: 0,
        absent_names_kept: 0,
        ..scene.shape.chances
    });
    for member in 0..scene.shape.members {
        scene.directory.set_weather(member, None);
    }
    scene.network().mend();
    scene.heal();
}
