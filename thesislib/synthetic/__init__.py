"""Synthetic people: photos of heads rendered from parameters, for a dataset that may be shared.

What a photo shows follows from four numbers (seed, identity, session, shot):

- the *identity* fixes shape and colouring, and depends on nothing else,
- the *session* (one sitting) fixes hair style, clothes, glasses, place and lights,
- the *shot* fixes pose, expression, framing and the camera's faults.

A head is a star-shaped surface: one radius for each direction from its centre. The directions are
the cells of a square grid, Lambert's azimuthal equal-area projection of the sphere about the
middle of the face; normals, ambient openness, colour and gloss are maps on the same grid. Rays are
marched to that surface; neck, shoulders and glasses are intersected analytically. Light is one
lamp with wrapped diffuse and Blinn-Phong specular reflection, and an ambient term.

Conventions of all modules:

- Lengths are in half head heights (about 11 cm), angles in degrees.
- The head's frame has its origin within the head, x to the right of the photo, y up and z towards
  the viewer. The camera's frame is the same one, not turned with the head.
- Colours are linear RGB about [0, 1] unless said to be sRGB.
- In formulas ``p``, ``s`` and ``e`` are the parameters of identity, session and shot.
- The same numbers give the same bytes on every x86-64 processor, whatever the number of threads
  or processes and whatever was drawn before; ``numerics`` says how.

Rooms, from the ground up: ``parameters`` and ``colours``; ``numerics``; ``head`` (shape),
``complexion`` and ``hair``, put together in ``surface``; ``camera``; ``renderer``, ``body`` and
``glasses``; ``places``; ``scene`` (draws a photo: start here); ``spec``, ``worker`` and ``sets``
(whole datasets on disk).
"""
