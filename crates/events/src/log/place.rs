//! Places of a topic: its floor, its end, and whether a cursor that was stored is one of this log.

use super::{Event, Reader, Topic};
use crate::cursor::{Cursor, Stored};
use crate::error::EventsError;

impl Topic {
    /// Names this log among all that have a topic of this name: `TOPIC:ID`. Cursors are stored under it.
    pub fn log(&self) -> String {
        self.inner.name.to_string()
    }

    /// Where the oldest record stands that is kept; the end when there is none. It never goes back.
    pub fn floor(&self) -> Cursor {
        self.at(self.floor_number())
    }

    /// Behind the newest durable record: the end of what readers see.
    pub fn end(&self) -> Cursor {
        self.at(self.end_number())
    }

    /// How many records a consumer that stands here has before it; withdrawn and damaged ones are counted too.
    /// Errors: [`EventsError::Foreign`].
    pub fn waiting(&self, cursor: &Cursor) -> Result<u64, EventsError> {
        self.own(cursor)?;
        Ok(self.end_number().saturating_sub(cursor.next.max(self.floor_number())))
    }

    /// The cursor of a stored text, also of the form of earlier versions.
    /// Errors: [`EventsError::Foreign`] when it is one of another log, or when another record than then stands before it;
    /// [`EventsError::NoCursor`]; reading failed. Whether the log still has, or has again, what comes next is heard when it is
    /// read.
    pub fn cursor(&self, text: &str) -> Result<Cursor, EventsError> {
        match Stored::parse(text).ok_or(EventsError::NoCursor)? {
            Stored::Cursor { log, next, mark } => {
                if log != *self.inner.name {
                    return Err(self.foreign());
                }
                match self.before(next)? {
                    Some(event) if mark != 0 && mark != event.after.mark => Err(self.foreign()),
                    _ => Ok(Cursor { mark, ..self.at(next) }),
                }
            }
            Stored::Numbered { next, key } => match self.before(next)? {
                Some(event) if event.key == key.as_bytes() => Ok(event.after),
                // It is not known whose numbers those are: only the record shows it.
                _ => Err(self.foreign()),
            },
        }
    }

    /// A reader from this place on. Errors: [`EventsError::Foreign`].
    pub fn reader(&self, cursor: &Cursor) -> Result<Reader, EventsError> {
        let mut reader = self.from_floor();
        reader.seek(cursor)?;
        Ok(reader)
    }

    /// A reader of everything that is kept.
    pub fn from_floor(&self) -> Reader {
        self.reader_at(0)
    }

    /// Registers a consumer of which it is not known yet what it has: nothing is deleted until it says
    /// ([`Reader::acknowledge`]).
    pub fn hold(&self, consumer: &str) {
        self.acknowledged(consumer, 0);
    }

    /// The consumer needs no record below this number: for one that keeps its state in the topic itself and knows the numbers that
    /// [`Topic::append`] gave.
    pub fn release(&self, consumer: &str, below: u64) {
        self.acknowledged(consumer, below);
    }

    /// The record whose number comes before this one, if it is there and whole.
    fn before(&self, next: u64) -> Result<Option<Event>, EventsError> {
        let Some(number) = next.checked_sub(1) else { return Ok(None) };
        if number < self.floor_number() || next > self.end_number() {
            return Ok(None);
        }
        match Reader::new(self.clone(), number).next_batch(1) {
            Ok(events) => Ok(events.into_iter().next().filter(|event| event.offset == number)),
            // Retention was faster.
            Err(EventsError::Gone { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Refuses a cursor of another log.
    pub(super) fn own(&self, cursor: &Cursor) -> Result<(), EventsError> {
        match cursor.log == self.inner.name {
            true => Ok(()),
            false => Err(self.foreign()),
        }
    }

    fn foreign(&self) -> EventsError {
        EventsError::Foreign { log: self.log() }
    }

    pub(super) fn at(&self, next: u64) -> Cursor {
        Cursor { log: self.inner.name.clone(), next, mark: 0 }
    }

    /// A reader that wants this record next; 0 means the oldest that is kept.
    pub(crate) fn reader_at(&self, number: u64) -> Reader {
        Reader::new(self.clone(), if number == 0 { self.floor_number() } else { number })
    }
}
