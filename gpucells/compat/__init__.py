"""Drop-ins: other tools' names, shapes and conventions, translated into calls of gpucells; no numerics of their own."""
