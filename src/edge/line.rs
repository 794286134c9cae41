//! The line before a tunnel's app: how many requests it gets at once, and who goes next when there are more.
//!
//! A pure queue. Classes come in order of urgency, but each fourth place goes to the class that has waited at the back, so that
//! nobody starves; within a class people take turns, so that one who sends a hundred requests waits behind one who sends one.

use std::collections::{HashMap, VecDeque};

/// How urgent a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Somebody waits for the answer.
    #[default]
    Interactive,
    /// A program that has time.
    Batch,
    /// Whenever there is room.
    Background,
}

/// Each so-many-th place goes to the least urgent class that waits.
const TURN_OF_THE_LAST: u32 = 4;

/// One who waits.
pub(super) type Ticket = u64;

/// Where somebody who comes stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    /// At the app.
    Inside,
    /// In the line, with this ticket.
    Waits(Ticket),
    /// The line is full.
    Outside,
}

#[derive(Default)]
struct Class {
    /// People, in the order in which they are asked; each is here once while they wait.
    people: VecDeque<String>,
    tickets: HashMap<String, VecDeque<Ticket>>,
}

impl Class {
    fn push(&mut self, person: &str, ticket: Ticket) {
        let tickets = self.tickets.entry(person.to_owned()).or_default();
        if tickets.is_empty() {
            self.people.push_back(person.to_owned());
        }
        tickets.push_back(ticket);
    }

    fn pop(&mut self) -> Option<Ticket> {
        let person = self.people.pop_front()?;
        let tickets = self.tickets.get_mut(&person)?;
        let ticket = tickets.pop_front();
        if tickets.is_empty() {
            self.tickets.remove(&person);
        } else {
            self.people.push_back(person);
        }
        ticket
    }

    fn remove(&mut self, ticket: Ticket) -> bool {
        let Some((person, tickets)) = self.tickets.iter_mut().find(|(_, all)| all.contains(&ticket)) else {
            return false;
        };
        tickets.retain(|one| *one != ticket);
        if tickets.is_empty() {
            let person = person.clone();
            self.tickets.remove(&person);
            self.people.retain(|one| *one != person);
        }
        true
    }
}

/// See the module.
pub(super) struct Line {
    at_once: usize,
    most_waiting: usize,
    inside: usize,
    waiting: usize,
    classes: [Class; 3],
    places: u32,
    tickets: Ticket,
}

impl Line {
    /// So many at once, and so many that wait.
    pub(super) fn new(at_once: usize, most_waiting: usize) -> Self {
        let classes = <[Class; 3]>::default();
        Self { at_once, most_waiting, inside: 0, waiting: 0, classes, places: 0, tickets: 0 }
    }

    /// Somebody comes.
    pub(super) fn come(&mut self, person: &str, priority: Priority) -> Stands {
        if self.inside < self.at_once {
            self.inside += 1;
            return Stands::Inside;
        }
        if self.waiting >= self.most_waiting {
            return Stands::Outside;
        }
        self.tickets += 1;
        self.waiting += 1;
        let ticket = self.tickets;
        self.class(priority).push(person, ticket);
        Stands::Waits(ticket)
    }

    /// Somebody who was inside goes; whoever is returned is inside in their place.
    pub(super) fn go(&mut self) -> Option<Ticket> {
        let next = self.next();
        if next.is_none() {
            self.inside = self.inside.saturating_sub(1);
        }
        next
    }

    /// Somebody who waited gives up. `false` if they are inside by now.
    pub(super) fn give_up(&mut self, ticket: Ticket) -> bool {
        let waited = self.classes.iter_mut().any(|class| class.remove(ticket));
        self.waiting -= usize::from(waited);
        waited
    }

    /// Whether four fifths of those who may wait do.
    pub(super) fn is_pressed(&self) -> bool {
        self.waiting * 5 >= self.most_waiting * 4 && self.waiting > 0
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether it can be forgotten.
    pub(super) fn is_empty(&self) -> bool {
        self.inside == 0 && self.waiting == 0
    }

    fn next(&mut self) -> Option<Ticket> {
        if self.waiting == 0 {
            return None;
        }
        self.places = self.places.wrapping_add(1);
        let from_the_back = self.places.is_multiple_of(TURN_OF_THE_LAST);
        let ticket = if from_the_back {
            self.classes.iter_mut().rev().find_map(Class::pop)
        } else {
            self.classes.iter_mut().find_map(Class::pop)
        };
        self.waiting -= usize::from(ticket.is_some());
        ticket
    }

    fn class(&mut self, priority: Priority) -> &mut Class {
        let [interactive, batch, background] = &mut self.classes;
        match priority {
            Priority::Interactive => interactive,
            Priority::Batch => batch,
            Priority::Background => background,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Priority::{Background, Batch, Interactive};
    use proptest::prelude::*;

    /// Who goes in, one after the other, of those who came while one was inside.
    fn order(came: &[(&'static str, Priority)]) -> Vec<&'static str> {
        let mut line = Line::new(1, 100);
        assert_eq!(line.come("first", Interactive), Stands::Inside);
        let mut names = HashMap::new();
        for (name, priority) in came {
            // What is before the digit is the person.
            let person = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
            let Stands::Waits(ticket) = line.come(person, *priority) else { panic!("there is room to wait") };
            names.insert(ticket, *name);
        }
        std::iter::from_fn(|| line.go()).map(|ticket| names[&ticket]).collect()
    }

    #[test]
    fn the_urgent_go_first_and_people_take_turns() {
        let came = [("b1", Batch), ("a1", Interactive), ("a2", Interactive), ("c1", Interactive)];
        assert_eq!(order(&came), ["a1", "c1", "a2", "b1"]);
    }

    #[test]
    fn whoever_sends_many_does_not_keep_others_out() {
        let mut came =
            vec![("a1", Interactive), ("a2", Interactive), ("a3", Interactive), ("a4", Interactive)];
        came.push(("b1", Interactive));
        assert_eq!(order(&came)[1], "b1");
    }

    #[test]
    fn each_fourth_place_goes_to_whoever_waits_at_the_back() {
        let mut came = vec![("z1", Background)];
        came.extend(["a1", "b1", "c1", "d1", "e1", "f1"].map(|name| (name, Interactive)));
        assert_eq!(order(&came)[3], "z1");
    }

    #[test]
    fn the_line_has_an_end_and_tells_when_it_is_near() {
        let mut line = Line::new(1, 5);
        assert_eq!(line.come("a", Interactive), Stands::Inside);
        for pressed in [false, false, false, true, true] {
            assert!(matches!(line.come("a", Interactive), Stands::Waits(_)));
            assert_eq!(line.is_pressed(), pressed);
        }
        assert_eq!(line.come("b", Interactive), Stands::Outside);
    }

    #[test]
    fn whoever_gives_up_is_not_called_and_leaves_room() {
        let mut line = Line::new(1, 1);
        line.come("a", Interactive);
        let Stands::Waits(ticket) = line.come("b", Interactive) else { panic!() };
        assert!(line.give_up(ticket) && !line.give_up(ticket));
        assert!(matches!(line.come("c", Interactive), Stands::Waits(_)));
        assert!(line.go().is_some());
        assert_eq!(line.go(), None);
        assert!(line.is_empty());
    }

    proptest! {
        #[test]
        fn nobody_is_lost_and_never_are_more_inside_than_may_be(
            steps in prop::collection::vec((0..4_u8, 0..3_u8, 0..3_usize), 0..200),
        ) {
            let (mut line, mut inside, mut waiting) = (Line::new(2, 8), 0_usize, Vec::new());
            for (what, person, class) in steps {
                let priority = [Interactive, Batch, Background][class];
                match what {
                    0 | 1 => match line.come(&person.to_string(), priority) {
                        Stands::Inside => inside += 1,
                        Stands::Waits(ticket) => waiting.push(ticket),
                        Stands::Outside => prop_assert_eq!(waiting.len(), 8),
                    },
                    2 if inside > 0 => match line.go() {
                        Some(ticket) => {
                            prop_assert!(waiting.contains(&ticket));
                            waiting.retain(|one| *one != ticket);
                        }
                        None => {
                            prop_assert!(waiting.is_empty());
                            inside -= 1;
                        }
                    },
                    3 => if let Some(ticket) = waiting.pop() { prop_assert!(line.give_up(ticket)) },
                    _ => {}
                }
                prop_assert!(inside <= 2);
                prop_assert_eq!(line.is_empty(), inside == 0 && waiting.is_empty());
            }
        }
    }
}
