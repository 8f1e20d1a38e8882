// Nothing yet: keeps the library from being empty until the first real source is here.
