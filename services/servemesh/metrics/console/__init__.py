"""The console: what operators open first. A process without state between browsers and the mesh's own APIs."""
