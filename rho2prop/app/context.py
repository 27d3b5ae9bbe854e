"""State shared by all pages."""

from dataclasses import dataclass

from nicegui import ui

from rho2prop.app.sessions import Session, Sessions
from rho2prop.app.settings import Settings
from rho2prop.app.workers import WorkerPool


@dataclass(frozen=True)
class Context:
    """Settings, worker processes and open sessions of the running app."""

    settings: Settings
    pool: WorkerPool
    sessions: Sessions

    def open_session(self) -> Session:
        """A session for the page that is being built; it ends as soon as the tab is closed or left."""
        session = self.sessions.open()
        ui.context.client.on_delete(lambda: self.sessions.close(session))
        # A page that the browser may bring back as it was (persisted) keeps its session as long as NiceGUI keeps it.
        address = f"{self.settings.base_path}/close/{session.token}"
        leave = f"addEventListener('pagehide', e => e.persisted || navigator.sendBeacon('{address}'))"
        ui.add_body_html(f"<script>{leave}</script>")
        return session
