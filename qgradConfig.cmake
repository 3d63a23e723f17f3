# find_package(qgrad): qgrad::qgrad, and the integer engine alone: qgrad::qgrad_engine, qgrad::qgrad_engine_static.
include(CMakeFindDependencyMacro)
find_dependency(fmt)
find_dependency(nlohmann_json)
find_dependency(Threads)
include(${CMAKE_CURRENT_LIST_DIR}/qgradTargets.cmake)
