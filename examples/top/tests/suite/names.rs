//! Names that do their worst, and screens of any size.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyCode;

use crate::world::{World, press};
use plugmeter_top::app::App;

fn hostile() -> Vec<String> {
    vec![
        "x".repeat(128),
        "骰".repeat(42),
        "שלום עולם".to_owned(),
        format!("z{}", "\u{301}".repeat(60)),
        "\u{301}leading mark".to_owned(),
        "👩\u{200d}👩\u{200d}👧\u{200d}👦".to_owned(),
        "\u{202e}drawkcab".to_owned(),
        "لا إله".to_owned(),
        "\u{2028}".to_owned(),
        "🇩🇪 flag".to_owned(),
        " ".to_owned(),
    ]
}

fn world() -> World {
    let mut world = World::new();
    for (name, pid) in hostile().iter().zip(1..) {
        world.run(name, pid, 60, 120);
    }
    world.run("plain", 99, 1, 1);
    world.ticks(3);
    world
}

fn symbols(buf: &Buffer, y: u16) -> Vec<&str> {
    (0..buf.area.width).map(|x| buf[(x, y)].symbol()).collect()
}

#[test]
fn every_state_stands_below_its_heading_whatever_the_name() {
    let world = world();
    for width in [60, 80, 100, 200] {
        let buf = world.buffer(&mut App::default(), (width, 50), Duration::ZERO);
        let lines: Vec<_> = (0..50).map(|y| symbols(&buf, y)).collect();
        let heading = lines.iter().position(|line| line[2..8].concat() == "PLUGIN").unwrap();
        let find = |line: &[&str], word: &str| {
            (0..line.len().saturating_sub(word.len()))
                .find(|&x| line[x..x + word.len()].concat() == word)
        };
        let state = find(&lines[heading], "STATE").unwrap();
        for row in &lines[heading + 1..heading + 1 + 12] {
            assert_eq!(find(row, "RUNNING"), Some(state), "{}", row.concat());
        }
    }
}

#[test]
fn it_can_be_drawn_at_any_size_with_whatever_is_open() {
    let world = world();
    let keys: [&[KeyCode]; 4] =
        [&[], &[KeyCode::Enter], &[KeyCode::Char('?')], &[KeyCode::Char('/'), KeyCode::Char('x')]];
    for keys in keys {
        let mut app = App::default();
        world.lines(&mut app, (80, 24), Duration::ZERO);
        press(&mut app, keys.iter().copied());
        for width in (1..40).chain([79, 80, 81, 119, 120, 121, 200, 500]) {
            for height in (1..30).chain([50, 100]) {
                world.buffer(&mut app, (width, height), Duration::ZERO);
            }
        }
    }
}

#[test]
fn no_cell_of_a_screen_holds_what_a_terminal_would_obey() {
    let world = world();
    for keys in [&[][..], &[KeyCode::Enter]] {
        let mut app = App::default();
        world.lines(&mut app, (200, 50), Duration::ZERO);
        for _ in hostile() {
            press(&mut app, keys.iter().copied());
            let buf = world.buffer(&mut app, (200, 50), Duration::ZERO);
            for cell in buf.content() {
                let obeyed = |ch: char| {
                    ch.is_control()
                        || matches!(ch, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
                };
                assert!(!cell.symbol().contains(obeyed), "{:?}", cell.symbol());
            }
            press(&mut app, [KeyCode::Down]);
        }
    }
}
