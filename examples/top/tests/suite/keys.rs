//! What keys do.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::world::{World, press, type_text};
use plugmeter_top::app::{After, App, Pane};

/// Three plugins of which each order makes something else, and one of which nothing is known.
fn world() -> World {
    let mut world = World::new();
    world.run("a", 1, 10, 300);
    world.run("b", 2, 30, 20);
    world.run("c", 3, 20, 10);
    world.plugin("d").events().add(1);
    world.plugin("e").crashed();
    world.ticks(1);
    for (name, events) in [("a", 5), ("b", 0), ("c", 9), ("d", 1), ("e", 0)] {
        world.plugin(name).events().add(events);
    }
    world.ticks(1);
    world
}

fn selected(world: &World, app: &mut App) -> String {
    let order = world.order(app);
    order[app.position()].clone()
}

#[test]
fn each_order_sorts_by_what_it_says_and_what_is_not_known_is_last_either_way() {
    let world = world();
    for (keys, expected) in [
        // An error, a warning by memory, then by CPU.
        ("w", ["e", "a", "b", "c", "d"]),
        ("wr", ["d", "c", "b", "a", "e"]),
        ("n", ["a", "b", "c", "d", "e"]),
        ("nr", ["e", "d", "c", "b", "a"]),
        ("c", ["b", "c", "a", "d", "e"]),
        ("cr", ["a", "c", "b", "d", "e"]),
        ("m", ["a", "b", "c", "d", "e"]),
        ("mr", ["c", "b", "a", "d", "e"]),
        ("e", ["c", "a", "d", "b", "e"]),
        ("x", ["a", "b", "c", "d", "e"]),
    ] {
        let mut app = App::default();
        type_text(&mut app, keys);
        assert_eq!(world.order(&mut app), expected, "{keys}");
    }
}

#[test]
fn plugins_with_more_crashes_come_first_when_sorted_by_crashes() {
    let mut world = World::new();
    for (name, crashes) in [("a", 1), ("b", 3), ("c", 0)] {
        world.plugin(name);
        for pid in 0..crashes {
            world.run(name, 10 + pid, 1, 1);
            world.plugin(name).crashed();
        }
    }
    world.ticks(1);
    let mut app = App::default();
    type_text(&mut app, "x");
    assert_eq!(world.order(&mut app), ["b", "a", "c"]);
    type_text(&mut app, "r");
    assert_eq!(world.order(&mut app), ["c", "a", "b"]);
}

#[test]
fn the_selection_stays_on_its_plugin_wherever_that_goes() {
    let mut world = world();
    let mut app = App::default();
    type_text(&mut app, "c");
    assert_eq!(world.order(&mut app), ["b", "c", "a", "d", "e"]);
    press(&mut app, [KeyCode::Down]);
    assert_eq!(selected(&world, &mut app), "c");
    world.change(3, 90, 10);
    world.ticks(1);
    assert_eq!(world.order(&mut app)[0], "c");
    assert_eq!(selected(&world, &mut app), "c");
    type_text(&mut app, "n");
    assert_eq!(selected(&world, &mut app), "c");
    // It is gone: whoever has its place now.
    world.plugin("c").remove();
    world.sim.advance(Duration::ZERO);
    assert_eq!(selected(&world, &mut app), "d");
}

#[test]
fn keys_move_the_selection_and_stop_at_both_ends() {
    let world = world();
    let mut app = App::default();
    type_text(&mut app, "n");
    world.order(&mut app);
    for (key, expected) in [
        (KeyCode::Up, "a"),
        (KeyCode::Char('j'), "b"),
        (KeyCode::Down, "c"),
        (KeyCode::Char('k'), "b"),
        (KeyCode::End, "e"),
        (KeyCode::Down, "e"),
        (KeyCode::Home, "a"),
        (KeyCode::PageDown, "e"),
        (KeyCode::PageUp, "a"),
    ] {
        press(&mut app, [key]);
        assert_eq!(selected(&world, &mut app), expected, "{key:?}");
    }
}

#[test]
fn the_selected_row_is_on_the_screen_however_long_the_table_is() {
    let mut world = World::new();
    for nth in 0..100 {
        world.plugin(&format!("plugin-{nth:02}"));
    }
    world.ticks(1);
    let mut app = App::default();
    for nth in 0..100 {
        let lines = world.lines(&mut app, (80, 24), Duration::ZERO);
        let name = format!("plugin-{nth:02}");
        assert!(lines.iter().any(|line| line.contains(&name)), "{name}: {lines:#?}");
        press(&mut app, [KeyCode::Down]);
    }
}

#[test]
fn a_filter_shows_the_names_that_have_it_in_them_and_is_cleared_by_escape() {
    let mut world = World::new();
    for name in ["Dice", "8ball", "dicey"] {
        world.plugin(name);
    }
    world.ticks(1);
    let mut app = App::default();
    // Keys that would sort or quit are a part of the name here.
    type_text(&mut app, "/q");
    assert_eq!(world.order(&mut app).len(), 1, "one line says that there is none");
    press(&mut app, [KeyCode::Backspace]);
    type_text(&mut app, "dic");
    assert_eq!(world.order(&mut app), ["Dice", "dicey"]);
    press(&mut app, [KeyCode::Enter]);
    assert_eq!(world.order(&mut app), ["Dice", "dicey"]);
    assert_eq!(press(&mut app, [KeyCode::Esc]), After::GoOn);
    assert_eq!(world.order(&mut app), ["8ball", "Dice", "dicey"]);
    assert_eq!(press(&mut app, [KeyCode::Esc]), After::Quit);
}

#[test]
fn escape_goes_back_a_step_and_q_and_control_c_quit_from_everywhere() {
    let world = world();
    for open in ["", "?", "/", "/a"] {
        let mut app = App::default();
        type_text(&mut app, open);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(app.key(control_c), After::Quit, "{open:?}");
    }
    let mut app = App::default();
    world.order(&mut app);
    press(&mut app, [KeyCode::Enter]);
    assert_eq!(app.pane, Pane::Detail);
    assert_eq!(press(&mut app, [KeyCode::Char('?')]), After::GoOn);
    assert_eq!((press(&mut app, [KeyCode::Esc]), app.pane), (After::GoOn, Pane::Table));
    press(&mut app, [KeyCode::Enter]);
    assert_eq!((press(&mut app, [KeyCode::Esc]), app.pane), (After::GoOn, Pane::Table));
    for open in [&[][..], &[KeyCode::Enter], &[KeyCode::Char('?')]] {
        let mut app = App::default();
        world.order(&mut app);
        press(&mut app, open.iter().copied());
        assert_eq!(type_text(&mut app, "q"), After::Quit, "{open:?}");
    }
}

#[test]
fn the_details_of_a_plugin_that_is_gone_are_closed() {
    let mut world = world();
    let mut app = App::default();
    world.order(&mut app);
    press(&mut app, [KeyCode::Enter]);
    world.plugin("e").remove();
    world.sim.advance(Duration::ZERO);
    world.lines(&mut app, (80, 24), Duration::ZERO);
    assert_eq!(app.pane, Pane::Table);
}
